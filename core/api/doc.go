// Package api answers Kafka's requests, one file per API, named by its key.
//
// The table in table.go is the only list: ApiVersions answers from it, and what
// is not in it is not served. skipped.md says why the others are not.
//
// A request is begun by its connection's reader, in order, and answered by its
// connection's writer, in order. Only what must happen in request order (a
// produce's append) happens in Begin; everything that waits does so in the
// Answer. Handlers read one metadata image for a whole request and change
// nothing themselves: records go through core/replica, decisions through
// core/controller, groups through core/group.
package api
