// Package admin is the broker's HTTP listener for operators:
//
//	/metrics      Prometheus metrics
//	/livez        200 as long as the process can answer at all
//	/readyz       200 if every named check passes, else 503; a line for each check
//	/debug/pprof  profiles
//
// It has no authentication and belongs on loopback or a private network.
package admin
