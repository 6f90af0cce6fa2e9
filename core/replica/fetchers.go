package replica

import (
	"context"
	"sync"
)

// following is what to fetch from whom, as the last image says. The images write
// it, and the goroutine of runFetchers starts and stops fetchers by it.
type following struct {
	mu   sync.Mutex
	by   map[int32]map[*Partition]int32 // leader -> partition -> leader epoch
	kick chan struct{}
}

func newFollowing() *following { return &following{kick: make(chan struct{}, 1)} }

func (f *following) set(by map[int32]map[*Partition]int32) {
	f.mu.Lock()
	f.by = by
	f.mu.Unlock()
	wake(f.kick)
}

func (f *following) get() map[int32]map[*Partition]int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.by
}

// runningFetcher is a fetcher with its goroutine.
type runningFetcher struct {
	*fetcher
	stop context.CancelFunc
}

// runFetchers keeps one fetcher per leader, and waits for all when ctx ends.
//
// A fetcher that was stopped may still be handling its last answer while another
// one for the same leader starts: the positions keep the two apart.
func (m *Manager) runFetchers(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := map[int32]runningFetcher{}
	for {
		by := m.following.get()
		for leader, f := range running {
			if len(by[leader]) == 0 {
				f.stop()
				delete(running, leader)
				m.metrics.dropFetchLag(leader)
			}
		}
		for leader, want := range by {
			f, ok := running[leader]
			if !ok {
				fetchCtx, stop := context.WithCancel(ctx)
				f = runningFetcher{newFetcher(m, leader), stop}
				running[leader] = f
				wg.Go(func() { f.run(fetchCtx) })
			}
			f.set(want)
		}
		select {
		case <-ctx.Done():
			for _, f := range running {
				f.stop()
			}
			return nil
		case <-m.following.kick:
		}
	}
}
