package admin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensustest"
	"github.com/quorate/quorate/core/admin/archive"
	"github.com/quorate/quorate/core/metadata"
)

// applied is a node that has applied an image, or never gets there.
type applied struct {
	img   *metadata.Image
	stuck error
}

func (a applied) Current() *metadata.Image                 { return a.img }
func (a applied) AwaitIndex(context.Context, uint64) error { return a.stuck }

// unread is a backend whose reads cannot be confirmed.
type unread struct{ *consensustest.Fake }

func (unread) ReadIndex(context.Context, consensus.GroupID) (index, term uint64, err error) {
	return 0, 0, consensus.ErrNoQuorum
}

func TestSnapshot(t *testing.T) {
	d := metadata.NewDelta(metadata.Empty())
	if err := d.ReplayAll([]metadata.Record{metadata.ClusterRecord{ID: "prod"}, metadata.TopicRecord{Name: "orders", ID: metadata.UUID{1}}}); err != nil {
		t.Fatal(err)
	}
	img := d.Image(17, 3, consensus.Gate{Term: 3, Sequence: 2})
	fake := consensustest.NewFake()
	fake.Elect(3)
	get := func(client consensus.Client, images Images, path string) *httptest.ResponseRecorder {
		mux := http.NewServeMux()
		WithSnapshots(1, client, images)(mux, slog.New(slog.DiscardHandler))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody))
		return w
	}
	for _, client := range []consensus.Client{fake, unread{fake}} {
		path := "/consensus/snapshot"
		if client != consensus.Client(fake) {
			path += "?local=true" // no majority is asked
		}
		w := get(client, applied{img: img}, path)
		r, err := archive.NewReader(w.Body)
		if err != nil {
			t.Fatalf("%d %v", w.Code, err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := metadata.ReadSnapshot(bytes.NewReader(content))
		if err != nil || !got.SameRecords(img) || r.Header.Index != 17 || r.Header.Term != 3 || r.Header.Cluster != "prod" || r.Header.Node != 1 {
			t.Errorf("got %+v, %v", r.Header, err)
		}
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"no majority":  get(unread{fake}, applied{img: img}, "/consensus/snapshot"),
		"never so far": get(fake, applied{img: img, stuck: context.DeadlineExceeded}, "/consensus/snapshot"),
		"broken":       get(fake, applied{img: img, stuck: errors.New("broken")}, "/consensus/snapshot"),
	} {
		if w.Code == http.StatusOK || !strings.Contains(w.Body.String(), `"error"`) {
			t.Errorf("%s: got %d %s", name, w.Code, w.Body)
		}
	}
}
