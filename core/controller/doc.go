// Package controller decides what becomes of the cluster: which broker is alive,
// who leads a partition, what topics exist. It runs on every broker and decides
// on the one whose replica leads the metadata log, for one term at a time.
//
// A decision is a function from the committed metadata, plus what the same batch
// has decided already, to records. Controller batches decisions, proposes one
// batch at a time, and answers once the batch is committed and visible in this
// broker's image. What nobody asked for (fencing, elections) is reconciled from
// the image after every change of it.
//
// Client reaches the active controller from any broker; Registration keeps this
// broker registered with it. See DESIGN.md.
package controller
