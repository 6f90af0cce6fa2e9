// Package protocol is Kafka's wire protocol as far as every room of the broker
// shares it: bounded frames, request and response headers, versions, error codes.
// The bodies are kmsg's types. The package imports nothing else of this module.
package protocol
