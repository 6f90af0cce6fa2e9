package wire

// The windows of HTTP/2 between host and plugin, in bytes: what one stream, and all of
// them together, may have on its way without having been read. They are fixed because
// gRPC would measure the line otherwise: with a ping and a window update for every
// message of a stream that is not busy, which here, over a socket of the machine,
// is a second conversation beside the proposals.
const (
	StreamWindow = 1 << 20
	ConnWindow   = 8 << 20
)
