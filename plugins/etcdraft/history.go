package etcdraft

// history is the group's configurations since its newest snapshot, ascending by
// index: a snapshot must carry the one at its own index, not the current one.
type history []config

func (h *history) add(c config) { *h = append(*h, c) }

// at returns the configuration as of index.
func (h history) at(index uint64) config {
	found := h[0]
	for _, c := range h {
		if c.Index <= index {
			found = c
		}
	}
	return found
}

func (h history) current() config { return h[len(h)-1] }

// forget drops what only snapshots before index would need.
func (h *history) forget(index uint64) {
	for len(*h) > 1 && (*h)[1].Index <= index {
		*h = (*h)[1:]
	}
}
