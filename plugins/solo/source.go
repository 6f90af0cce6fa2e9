package solo

import "embed"

// Source is this package's own source, which `quorate plugin new` copies: a new
// backend begins as this one.
//
//go:embed *.go
var Source embed.FS
