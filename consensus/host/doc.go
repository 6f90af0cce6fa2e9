// Package host runs a consensus backend for the broker and is its
// consensus.Client. [Launch] starts the backend's process through go-plugin,
// [Host.Run] supervises it: it restarts what crashes, kills what hangs, and gives
// up on what another start would not mend.
//
// The process and this one share their fate. If the host dies, the plugin sees
// the end of the pipe it inherited and exits; if Run's context ends, the plugin
// is asked to stop, and killed by pid if it does not.
//
// [InProcess] gives the same client over the same server code without a process,
// for tests.
package host
