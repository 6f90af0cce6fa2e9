// Command profiled-raft is a consensus plugin for Quorate that is built outside
// its repository.
package main

import (
	"example.org/profiled-raft/profiledraft"

	"github.com/quorate/quorate/consensus/sdk"
)

func main() { sdk.Serve(profiledraft.New()) }
