// Package consensustest is what tests of consensus stand on. It has two halves.
//
// [Run] is the conformance kit of package kit: it drives real backends, in this
// process, over real sockets and directories, and reports by the rule names of
// the package consensus. Whoever writes a backend in Go calls it from a test:
//
//	func TestConformance(t *testing.T) {
//		consensustest.Run(t, consensustest.Config{New: mybackend.New})
//	}
//
// [Fake] is the opposite: a consensus.Client that elects, commits, loses and
// compacts exactly when a test tells it to, for tests of code above the
// contract. [NewFakeCluster] gives several of them over one log.
package consensustest
