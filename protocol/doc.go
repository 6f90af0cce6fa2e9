// Package protocol is Kafka's wire protocol as far as every room of the broker
// shares it: bounded frames, request and response headers, versions, error codes.
// The bodies are kmsg's types, except those of Produce and Fetch, which carry the
// records. The package imports nothing else of this module.
//
// Produce and Fetch requests are read as they arrive, by ReadRequestHead, StreamHeader,
// and StreamProduce or StreamFetch; the former holds the records of one partition at
// most, the latter at most FetchWeight. A FetchResponse is encoded without its records.
//
// Every other request is read in three steps: ReadRequestFrame, ParseHeader,
// ParseRequest. For any bytes from the network they promise:
//
//   - no panic, and time linear in the bytes that came;
//   - ReadRequestFrame allocates in step with what arrives, not with what a length
//     announces, and nothing before it was admitted;
//   - a decoded request with its frame takes at most RequestWeight bytes, to within
//     the rounding of the allocator. ParseRequest refuses what would take more before
//     kmsg allocates any of it (guard.go). kmsg alone can be made to allocate 275
//     times the body, and to loop over four billion tags that are not there.
//
// All functions may be called concurrently. A decoded request shares its byte fields
// (the records) with the frame.
package protocol
