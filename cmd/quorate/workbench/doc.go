// Package workbench runs a cluster on a plugin that is being written: it builds the
// module, starts nodes with the result, and does so again whenever a file is saved.
//
// What does not build, or cannot say what it is, is shown, and the nodes go on with
// what they have. Everything is in one temporary folder, which is removed at the
// end; the nodes keep their data from one build to the next unless that is asked
// not to be.
//
//	workbench.go   the loop: build, try, restart, wait for the next save
//	build.go       a module becomes an executable; which folders it is made from
//	saves.go       files that were saved, told once per burst
//	node.go        a node: its config file, its process
package workbench
