package queue

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quorate/quorate/consensus"
)

// What gathers while a batch is handled comes as one batch, in order.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New[int](8)
		var got [][]int
		goOn := make(chan struct{})
		go q.Run(func(batch []int) {
			got = append(got, slices.Clone(batch))
			<-goOn
		})
		put := func(items ...int) {
			for _, n := range items {
				if err := q.Put(n); err != nil {
					t.Fatalf("put %d: %v", n, err)
				}
			}
		}
		put(1)
		synctest.Wait() // the reader is at the first
		put(2, 3, 4)
		close(goOn)
		q.Close()
		if want := [][]int{{1}, {2, 3, 4}}; !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// A queue that is full, or closed, refuses at once.
func TestRefusals(t *testing.T) {
	q := New[int](2)
	for n := range 2 {
		if err := q.Put(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Put(2); !errors.Is(err, consensus.ErrOverloaded) {
		t.Errorf("full: %v", err)
	}
	var handled atomic.Int64
	go q.Run(func(batch []int) { handled.Add(int64(len(batch))) })
	q.Close()
	q.Close()
	if handled.Load() != 2 {
		t.Errorf("%d of 2 were handled before Close returned", handled.Load())
	}
	if err := q.Put(3); !errors.Is(err, consensus.ErrShuttingDown) {
		t.Errorf("closed: %v", err)
	}
}

func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New[int](1)
		go q.Run(func([]int) { time.Sleep(3 * time.Second) })
		if age := q.Age(); age != 0 {
			t.Errorf("without work: %s", age)
		}
		if err := q.Put(1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if age := q.Age(); age < time.Second || age > 2*time.Second {
			t.Errorf("after 2 s of 3: %s", age)
		}
		q.Close()
		if age := q.Age(); age != 0 {
			t.Errorf("at the end: %s", age)
		}
	})
}

// Whatever was taken is handled once, whenever the queue is closed.
func TestNothingIsLost(t *testing.T) {
	for range 50 {
		q := New[int](16)
		var taken, handled atomic.Int64
		go q.Run(func(batch []int) { handled.Add(int64(len(batch))) })
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for {
					switch err := q.Put(1); {
					case err == nil:
						taken.Add(1)
					case errors.Is(err, consensus.ErrShuttingDown):
						return
					}
				}
			})
		}
		for taken.Load() < 100 { // let them run into each other
			time.Sleep(10 * time.Microsecond)
		}
		q.Close()
		writers.Wait()
		if taken.Load() != handled.Load() {
			t.Fatalf("%d were taken, %d handled", taken.Load(), handled.Load())
		}
	}
}
