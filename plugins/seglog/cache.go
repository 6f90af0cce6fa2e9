package seglog

// cache bounds how much entry data stays in memory: the newest, whatever the
// group. Log.mu guards it.
type cache struct {
	limit, bytes int64
	queue        []cached // oldest first, from head on
	head         int
}

type cached struct {
	group, index uint64
	segment      *segment
	offset       int64
	bytes        int64
}

// remember keeps the data of an entry that was just appended, and forgets the
// oldest beyond the limit.
func (l *Log) remember(r *record) {
	if r.kind != kindEntry || len(r.data) == 0 {
		return
	}
	p := l.groups[r.group].at(r.index)
	p.data = r.data
	c := &l.cache
	c.queue = append(c.queue, cached{r.group, r.index, p.segment, p.offset, int64(len(r.data))})
	c.bytes += int64(len(r.data))
	for c.bytes > c.limit && c.head < len(c.queue) {
		l.forget(c.queue[c.head])
		c.bytes -= c.queue[c.head].bytes
		c.queue[c.head] = cached{}
		c.head++
	}
	if c.head > 1024 && c.head > len(c.queue)/2 {
		c.queue = append([]cached(nil), c.queue[c.head:]...)
		c.head = 0
	}
}

func (l *Log) forget(e cached) {
	g := l.groups[e.group]
	if g == nil || !g.has(e.index) {
		return
	}
	if p := g.at(e.index); p.segment == e.segment && p.offset == e.offset {
		p.data = nil
	}
}
