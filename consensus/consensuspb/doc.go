// Package consensuspb is the consensus contract as it goes over the wire:
// consensus.proto and the code generated from it. Backends in other languages
// implement the service from the .proto; Go code uses package consensus, and
// only the SDK, the host and their common wire package import this one.
package consensuspb

//go:generate sh -c "cd ../.. && go tool -modfile=tools/go.mod buf generate --path consensus/consensuspb"
//go:generate go run ./rpcdoc consensus.proto ../../docs/plugins/contract.md ../../docs/plugins/rpc
