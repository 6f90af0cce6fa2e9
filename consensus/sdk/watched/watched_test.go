package watched

import (
	"sync"
	"testing"
)

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestValue(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Value[int])
		want   int
		woken  bool
	}{
		{"another value", func(v *Value[int]) { v.Set(2) }, 2, true},
		{"the same value", func(v *Value[int]) { v.Set(1) }, 1, false},
		{"there and back", func(v *Value[int]) { v.Set(2); v.Set(1) }, 1, true},
		{"the end", func(v *Value[int]) { v.Wake() }, 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var v Value[int]
			v.Set(1)
			_, changed := v.Get()
			tt.change(&v)
			got, next := v.Get()
			if got != tt.want || closed(changed) != tt.woken {
				t.Errorf("got %d, woken %v, want %d, %v", got, closed(changed), tt.want, tt.woken)
			}
			if closed(next) {
				t.Error("the next channel is closed already")
			}
		})
	}
}

// Whoever follows a value sees the last one, however fast it changes.
func TestFollowersSeeTheLastOne(t *testing.T) {
	const last = 1000
	var v Value[int]
	var followers sync.WaitGroup
	for range 4 {
		followers.Go(func() {
			for {
				value, changed := v.Get()
				if value == last {
					return
				}
				<-changed
			}
		})
	}
	for n := range last {
		v.Set(n + 1)
	}
	followers.Wait()
}
