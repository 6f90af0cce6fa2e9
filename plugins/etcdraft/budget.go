package etcdraft

import (
	"sync"
	"sync/atomic"
)

// budget bounds proposals in flight, by number and by bytes. What is in use may
// be read without its lock.
type budget struct {
	mu       sync.Mutex
	count    atomic.Int64
	bytes    atomic.Int64
	maxCount int64
	maxBytes int64
}

func (b *budget) acquire(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	count, bytes := b.count.Load(), b.bytes.Load()
	if count >= b.maxCount || (count > 0 && bytes+int64(n) > b.maxBytes) {
		return false
	}
	b.count.Add(1)
	b.bytes.Add(int64(n))
	return true
}

func (b *budget) release(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count.Add(-1)
	b.bytes.Add(int64(-n))
}
