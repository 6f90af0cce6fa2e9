package admin

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core/admin/archive"
	"github.com/quorate/quorate/core/metadata"
)

// snapshotWait bounds the way to an image that has everything acknowledged before.
const snapshotWait = 10 * time.Second

// Images are what a node has applied of the metadata log.
type Images interface {
	Current() *metadata.Image
	AwaitIndex(ctx context.Context, index uint64) error
}

// WithSnapshots serves the node's metadata as an archive, at /consensus/snapshot. It
// has everything that was acknowledged before the request; with ?local=true it has
// what this node has, also without a leader.
func WithSnapshots(node int32, client consensus.Client, images Images) Option {
	return func(mux *http.ServeMux, log *slog.Logger) {
		c := &consensusAPI{node: node, client: client, log: log}
		mux.HandleFunc("GET /consensus/snapshot", func(w http.ResponseWriter, r *http.Request) { c.snapshot(w, r, images) })
	}
}

func (c *consensusAPI) snapshot(w http.ResponseWriter, r *http.Request, images Images) {
	ctx, cancel := context.WithTimeout(r.Context(), snapshotWait)
	defer cancel()
	local := r.URL.Query().Get("local") == "true"
	if !local {
		if err := c.caughtUp(ctx, images); err != nil {
			status, e := c.failure(err)
			c.answer(w, status, e)
			return
		}
	}
	members, err := c.client.Members(ctx, consensus.Metadata)
	if err != nil && !local {
		status, e := c.failure(err)
		c.answer(w, status, e)
		return
	}
	img := images.Current()
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := archive.Write(w, c.archiveHeader(img, configuration(members)), img.WriteSnapshot); err != nil {
		c.log.Warn("a snapshot was not taken to its end", "remote", r.RemoteAddr, "index", img.Index, "error", err)
	}
}

// caughtUp returns once this node has applied what was acknowledged before.
func (c *consensusAPI) caughtUp(ctx context.Context, images Images) error {
	index, _, err := c.client.ReadIndex(ctx, consensus.Metadata)
	if err != nil {
		return err
	}
	return images.AwaitIndex(ctx, index)
}

func (c *consensusAPI) archiveHeader(img *metadata.Image, config Configuration) archive.Header {
	h := archive.Header{
		Cluster: img.ClusterID, Backend: c.client.Describe().Backend, Node: c.node, Index: img.Index, Term: img.Term,
		ConfigIndex: config.Index, Members: []archive.Member{}, Format: metadata.SnapshotFormat, Created: time.Now().UTC(),
	}
	for _, m := range config.Members {
		h.Members = append(h.Members, archive.Member(m))
	}
	return h
}
