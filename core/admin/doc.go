// Package admin is the broker's HTTP listener for operators:
//
//	/metrics      Prometheus metrics
//	/livez        200 as long as the process can answer at all
//	/readyz       200 if every named check passes, else 503; a line for each check
//	/consensus    the state of this node's metadata log and its plugin, as JSON; POST
//	              below it moves the leadership and changes the members
//	/debug/pprof  profiles
//
// Without TLS that asks for certificates it has no authentication, and belongs on
// loopback or a private network.
package admin
