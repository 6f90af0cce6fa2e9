// Package wire translates between the consensus contract and its protobuf form,
// in both directions. The SDK and the host share it, so that what one says the
// other understands: values, errors, and the pieces that snapshots travel in.
//
// Receivers follow rule V2: an enum value that is not known is taken for
// unspecified, a message that is missing for its zero value.
package wire
