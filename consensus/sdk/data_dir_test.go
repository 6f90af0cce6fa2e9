package sdk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/consensus"
)

var mine = meta{Backend: "b", Format: metaFormat, ClusterID: "c", ReplicaID: 7}

func TestDataDirIsLocked(t *testing.T) {
	dir := t.TempDir()
	d, err := openDataDir(t.Context(), dir, 0, mine)
	if err != nil {
		t.Fatal(err)
	}
	_, err = openDataDir(t.Context(), dir, 0, mine)
	if !errors.Is(err, consensus.ErrDataDirLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("second: got %v", err)
	}
	waited := make(chan error, 1)
	go func() {
		d2, err := openDataDir(context.Background(), dir, time.Minute, mine)
		d2.release()
		waited <- err
	}()
	d.release()
	if err := <-waited; err != nil {
		t.Errorf("one that waits for the lock: got %v", err)
	}
}

func TestMeta(t *testing.T) {
	change := func(f func(*meta)) meta {
		m := mine
		f(&m)
		return m
	}
	tests := []struct {
		name string
		file string // META.json beforehand; "" = none
		more string // another file beforehand
		want meta
		err  error
	}{
		{"empty directory", "", "", mine, nil},
		{"half-written before", "", metaDraft, mine, nil},
		{"our own", `{"backend":"b","format":1,"cluster_id":"c","replica_id":7}`, "log", mine, nil},
		{"another cluster", `{"backend":"b","format":1,"cluster_id":"x","replica_id":7}`, "", mine, consensus.ErrDataIncompatible},
		{"another replica", `{"backend":"b","format":1,"cluster_id":"c","replica_id":8}`, "", mine, consensus.ErrDataIncompatible},
		{"a newer format", `{"backend":"b","format":2,"cluster_id":"c","replica_id":7}`, "", mine, consensus.ErrDataIncompatible},
		{"another backend", `{"backend":"b","format":1,"cluster_id":"c","replica_id":7}`, "", change(func(m *meta) { m.Backend = "x" }), consensus.ErrDataIncompatible},
		{"garbage", `{`, "", mine, consensus.ErrDataIncompatible},
		{"files that are not ours", "", "photo.jpg", mine, consensus.ErrDataIncompatible},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range map[string]string{metaName: tt.file, tt.more: "x"} {
				if name == "" || content == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the second time reads what the first one wrote
				d, err := openDataDir(t.Context(), dir, 0, tt.want)
				d.release()
				if !errors.Is(err, tt.err) {
					t.Errorf("got %v, want %v", err, tt.err)
				}
			}
		})
	}
}

func TestDataDirMissing(t *testing.T) {
	_, err := openDataDir(t.Context(), filepath.Join(t.TempDir(), "no"), 0, mine)
	if !errors.Is(err, consensus.ErrInvalidArgument) {
		t.Errorf("got %v", err)
	}
}
