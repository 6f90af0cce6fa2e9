// Package cli tests the command line as people meet it: scripts run the real
// binary, against clusters of real processes and without any, and compare what it
// prints and how it ends. The scripts are in testdata, a folder for each setting;
// commands_test.go has the words that they know besides testscript's own.
package cli
