//go:build !linux

package ports

import (
	"io"
	"sync"
)

// held are the ports of this process. Others are only kept out while somebody
// listens.
var held sync.Map

type holding int

func (h holding) Close() error {
	held.Delete(int(h))
	return nil
}

func hold(port int) (io.Closer, error) {
	if _, other := held.LoadOrStore(port, true); other {
		return nil, nil
	}
	return holding(port), nil
}

func ephemeral() (first, last int) { return defaultFirst, defaultLast }
