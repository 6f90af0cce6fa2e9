// Package core is the broker: it builds the rooms below it, joins what may not
// know each other, starts them in the order in which they need each other and
// stops them in reverse.
//
// It reaches consensus through consensus.Client alone, so that a whole broker
// runs in a test without a plugin's process.
package core
