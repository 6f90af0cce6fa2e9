package etcdraft

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/quorate/quorate/consensus"
)

func TestGroupsShareLogAndConnections(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, "", nil)
	const groups = 4
	opened := make([][]consensus.Group, groups)
	for n := range groups {
		for i := range c.backends {
			opened[n] = append(opened[n], c.open(i, consensus.GroupID(n+1)))
		}
	}
	var wg sync.WaitGroup
	for n := range groups {
		wg.Go(func() {
			for k := 0; k < 50; {
				i, l := c.leader(opened[n])
				if r := propose(opened[n][i], l.Term, fmt.Appendf(nil, "group %d proposal %d", n+1, k)); r.Outcome == consensus.Committed {
					k++
				}
			}
		})
	}
	wg.Wait()
	for n := range groups {
		i, _ := c.leader(opened[n])
		lines, err := dump(opened[n][i], 1)
		if all := strings.Join(lines, "\n"); err != nil || strings.Count(all, fmt.Sprintf("group %d ", n+1)) < 50 || strings.Count(all, "group ") != strings.Count(all, fmt.Sprintf("group %d ", n+1)) {
			t.Errorf("group %d: %v\n%s", n+1, err, all)
		}
	}
	if err := opened[3][0].Destroy(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.backends[0].OpenGroup(t.Context(), consensus.GroupSpec{ID: 4, Mode: consensus.OpenRecover}); !errors.Is(err, consensus.ErrDataIncompatible) {
		t.Errorf("recover a destroyed group: %v", err)
	}
}
