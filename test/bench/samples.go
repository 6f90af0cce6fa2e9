package main

import (
	"fmt"
	"slices"
)

// samples are what several runs saw of one thing.
type samples []float64

func (s samples) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// noise is half of the distance between the least and the greatest, in parts of the
// median.
func (s samples) noise() float64 {
	if m := s.median(); m > 0 {
		return (slices.Max(s) - slices.Min(s)) / 2 / m
	}
	return 0
}

func (s samples) max() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Max(s)
}

// seen is the median with its noise: "530 MB/s ±4 %".
func (s samples) seen(format string) string {
	if len(s) == 0 {
		return "-"
	}
	out := fmt.Sprintf(format, s.median())
	if len(s) > 1 {
		out += fmt.Sprintf(" ±%.0f %%", 100*s.noise())
	}
	return out
}

// table is samples of several things, by variant and thing.
type table map[string]map[string]samples

func (t table) add(variant, thing string, value float64) {
	if t[variant] == nil {
		t[variant] = map[string]samples{}
	}
	t[variant][thing] = append(t[variant][thing], value)
}

// ratio is a's median in parts of b's.
func (t table) ratio(a, b, thing string) float64 {
	if d := t[b][thing].median(); d > 0 {
		return t[a][thing].median() / d
	}
	return 0
}
