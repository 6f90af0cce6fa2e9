// Package metadatapb is the form of metadata records in the metadata log and in
// its snapshots: records.proto and the code generated from it. Only
// core/metadata reads it; everybody else sees metadata.Record.
package metadatapb

//go:generate sh -c "cd ../../.. && go tool -modfile=tools/go.mod buf generate --path core/metadata/metadatapb"
