package protocol

// RequestHeader is the header of a request. Its tagged fields are checked and
// then forgotten: Kafka has defined none.
type RequestHeader struct {
	Key, Version  int16
	CorrelationID int32
	// ClientID is what the client calls itself, or nil. It is not to be trusted.
	ClientID *string
}
