package etcdraft

import "sync"

// budget bounds proposals in flight, by number and by bytes.
type budget struct {
	mu       sync.Mutex
	count    int
	bytes    int
	maxCount int
	maxBytes int
}

func (b *budget) acquire(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count >= b.maxCount || (b.count > 0 && b.bytes+n > b.maxBytes) {
		return false
	}
	b.count++
	b.bytes += n
	return true
}

func (b *budget) release(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count--
	b.bytes -= n
}
