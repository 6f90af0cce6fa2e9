package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// beginAPIVersions answers ApiVersions (key 18), v0 to v4, from the table.
//
// A version that is not known gets a v0 body with UNSUPPORTED_VERSION and the
// ranges that are, so that the client can ask again (KIP-511).
func beginAPIVersions(_ context.Context, a *API, s *Session, r *Request) Answer {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = r.Version
	if r.Unsupported {
		resp.Version = 0
		resp.ErrorCode = int16(protocol.UnsupportedVersion)
	}
	for _, e := range table {
		if !e.on(s.Kind) {
			continue
		}
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = e.key.Int16(), e.minVersion, e.maxVersion
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return func(context.Context) (protocol.Response, error) { return resp, nil }
}
