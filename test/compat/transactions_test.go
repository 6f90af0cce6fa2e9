//go:build integration

package compat

import (
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/quorate/quorate/core/wal"
	"github.com/quorate/quorate/protocol/record"
)

// Kafka's own dump tool reads what transactions leave on disk: markers, the index of
// aborted transactions, producers with an open one. Written by the log itself, as no
// client can yet.
func TestDumpLogSegmentsOfTransactions(t *testing.T) {
	need(t, "java", "install it with: apt-get install default-jre-headless")
	jars := javaClient(t)
	ctx := within(t, 4*time.Minute)
	dir := filepath.Join(t.TempDir(), "paid-0")
	log, err := wal.Open(dir, wal.DefaultConfig(), slog.New(slog.DiscardHandler))
	must(t, err)
	add := func(b []byte) {
		t.Helper()
		_, err := log.AppendAsLeader(0, b)
		must(t, err)
	}
	data := func(producer int64, sequence int32) []byte {
		b := record.NewBuilder()
		b.SetProducer(producer, 0, sequence)
		b.SetTransactional()
		b.Add(1000, nil, []byte("paid"))
		return b.Bytes()
	}
	mark := func(kind record.MarkerType, producer int64) []byte {
		return record.NewMarker(record.Marker{Type: kind, CoordinatorEpoch: 4}, producer, 0, 1000)
	}
	add(data(7, 0))             // 0
	add(data(8, 0))             // 1
	add(mark(record.Abort, 7))  // 2
	add(data(7, 1))             // 3
	add(mark(record.Commit, 8)) // 4
	add(mark(record.Abort, 7))  // 5
	add(data(9, 0))             // 6: stays open
	must(t, log.Close())

	d := dumped(ctx, t, jars, dir, "--deep-iteration")
	wantSaneIndexes(ctx, t, jars, dir)
	text := strings.Join(d.lines, "\n")
	for _, want := range []string{
		`offset: 2 .*endTxnMarker: ABORT coordinatorEpoch: 4`,
		`offset: 4 .*endTxnMarker: COMMIT coordinatorEpoch: 4`,
		`version: 0 producerId: 7 firstOffset: 0 lastOffset: 2 lastStableOffset: 1\n`,
		`version: 0 producerId: 7 firstOffset: 3 lastOffset: 5 lastStableOffset: 6\n`,
		`producerId: 7 producerEpoch: 0 coordinatorEpoch: 4 currentTxnFirstOffset: (None|OptionalLong.empty) `,
		`producerId: 9 producerEpoch: 0 coordinatorEpoch: -1 currentTxnFirstOffset: (Some\(6\)|OptionalLong\[6\]) `,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("the tool did not print %s", want)
		}
	}
	if t.Failed() {
		t.Log(text)
	}
}
