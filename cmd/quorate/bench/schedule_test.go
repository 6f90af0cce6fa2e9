package bench

import (
	"math"
	"testing"
	"time"
)

// Record i is due at i/rate, and is handed over neither before nor twice.
func TestSchedule(t *testing.T) {
	s := schedule{start: time.Now(), rate: 20_000, count: 2000}
	next := int64(0)
	s.run(t.Context(), func(from, to int64) {
		now := time.Now()
		if from != next || to <= from {
			t.Errorf("handed over [%d, %d) after %d", from, to, next)
		}
		if due := s.due(to - 1); due.After(now.Add(time.Microsecond)) { // the rounding of floats
			t.Errorf("record %d handed over %v early", to-1, due.Sub(now))
		}
		next = to
	})
	if next != 2000 {
		t.Errorf("%d records handed over, want 2000", next)
	}
	if took := time.Since(s.start); took < 1999*50*time.Microsecond {
		t.Errorf("2000 records at 20 000 per second took %v", took)
	}
}

func TestDue(t *testing.T) {
	s := schedule{start: time.Unix(100, 0), rate: 4, count: 10}
	for i, want := range []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond} {
		if got := s.due(int64(i)).Sub(s.start); got != want {
			t.Errorf("record %d is due after %v, want %v", i, got, want)
		}
	}
	for after, want := range map[time.Duration]int64{0: 1, 249 * time.Millisecond: 1, 250 * time.Millisecond: 2, time.Hour: 10} {
		if got := s.dueAt(s.start.Add(after)); got != want {
			t.Errorf("after %v %d records are due, want %d", after, got, want)
		}
	}
}

// The k-th key occurs in proportion to 1/k.
func TestZipf(t *testing.T) {
	const records, count = 200_000, 1000
	k := newKeys(count, Zipf)
	seen := make([]float64, count)
	for i := range int64(records) {
		seen[k.of(i)]++
	}
	for _, n := range []int{1, 2, 10, 100} {
		// P(k) = ln((k+1)/k) / ln(count+1), for keys counted from 1.
		want := records * math.Log(float64(n+1)/float64(n)) / math.Log(count+1)
		if got := seen[n-1]; math.Abs(got-want) > 0.2*want {
			t.Errorf("key %d occurs %v times, want about %.0f", n, got, want)
		}
	}
}

func TestUniform(t *testing.T) {
	k := newKeys(10, Uniform)
	seen := make([]int, 10)
	for i := range int64(100_000) {
		seen[k.of(i)]++
	}
	for i, n := range seen {
		if n < 9500 || n > 10_500 {
			t.Errorf("key %d occurs %d times of 100000", i, n)
		}
	}
}
