package configs

import (
	"strings"
)

// nearest returns the candidate that text was probably meant to be, or "".
func nearest(text string, candidates []string) string {
	best, bestDistance := "", max(1, len(text)/3)+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(text), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// nearestKey returns the key that an unknown one was probably meant to be, or "": a
// sibling with a similar name, or a key elsewhere with the same name.
func nearestKey(key string) string {
	at := strings.LastIndex(key, "/")
	prefix, name := "", key
	if at >= 0 {
		prefix, name = key[:at], key[at+1:]
	}
	parent := schema
	if prefix != "" {
		parent = schema.find(prefix)
	}
	if parent != nil {
		if guess := nearest(name, parent.names); guess != "" {
			return join(prefix, guess)
		}
	}
	all := schema.keys("")
	for _, candidate := range all {
		if candidate[strings.LastIndex(candidate, "/")+1:] == name {
			return candidate
		}
	}
	return nearest(key, all)
}

// distance is Levenshtein's, over bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
