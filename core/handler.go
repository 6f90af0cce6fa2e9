package core

import (
	"context"

	"github.com/quorate/quorate/core/api"
	"github.com/quorate/quorate/core/server"
)

// handler joins the server, which knows connections, to the APIs, which know
// requests. Neither imports the other.
type handler struct{ api *api.API }

// Versions implements server.Handler.
func (h handler) Versions(kind server.Kind, key int16) (minVersion, maxVersion int16, ok bool) {
	return h.api.Versions(kindOf(kind), key)
}

// Begin implements server.Handler.
func (h handler) Begin(ctx context.Context, s *server.Session, r *server.Request) server.Answer {
	session := &api.Session{Kind: kindOf(s.Kind), Listener: s.Listener, Host: s.Remote.Addr().Unmap().String()}
	answer := h.api.Begin(ctx, session, &api.Request{
		Key:         r.Header.Key,
		Version:     r.Header.Version,
		ClientID:    s.ClientID,
		Body:        r.Body,
		Produce:     r.Produce,
		Fetch:       r.Fetch,
		Unsupported: r.Unsupported,
	})
	return server.Answer(answer)
}

func kindOf(k server.Kind) api.Kind {
	if k == server.Cluster {
		return api.Cluster
	}
	return api.Client
}
