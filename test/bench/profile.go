package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profile takes a CPU profile of a node while a load runs, from its admin listener, into
// a file of the directory that -profiles names. It returns what waits for the end of it.
func (r *runner) profile(ctx context.Context, s *server, workload string) (wait func()) {
	if r.profiles == "" || s.cluster == nil {
		return func() {}
	}
	r.profiled++
	name := filepath.Join(r.profiles, fmt.Sprintf("%s-%d-%s.pprof", r.row, r.profiled, workload))
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		begin := time.NewTimer(r.warmup())
		defer begin.Stop()
		select {
		case <-ctx.Done():
			return
		case <-begin.C:
		}
		url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.cluster.Node(1).Admin, int(r.seconds().Seconds()))
		if err := download(ctx, url, name); err != nil && ctx.Err() == nil {
			fmt.Fprintln(r.log, "profile:", err)
		}
	}()
	return func() { cancel(); <-done }
}

func download(ctx context.Context, url, name string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, resp.Body)
	return err
}
