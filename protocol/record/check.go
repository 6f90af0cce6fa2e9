package record

import (
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/quorate/quorate/protocol"
)

// Rules is what a topic asks of the records of a producer's batch.
type Rules struct {
	// Keyed wants a key in every record: cleanup.policy has compact.
	Keyed bool
	// Earliest and Latest bound the records' timestamps, in milliseconds. A record
	// without one is within every bound.
	Earliest, Latest int64
	// Limits bounds what a compressed batch may become.
	Limits DecompressLimits
}

// DefaultRules asks only that the records can be read.
func DefaultRules() Rules {
	return Rules{Earliest: math.MinInt64, Latest: math.MaxInt64, Limits: DefaultDecompressLimits()}
}

// quickLane and slowLane bound how many batches are decompressed at a time: each holds
// memory, up to the window of zstd or a block of snappy. A batch that becomes more
// than quickRatio times as large, and more than ratioFree, begins again in the slow
// lane, which leaves one CPU free: so nobody waits behind bombs who sends none.
var (
	quickLane = make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	slowLane  = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1))
)

const quickRatio = 8

// maxRejections bounds how many records a RejectedError names.
const maxRejections = 100

// RejectedError says which records of a batch a topic does not take.
type RejectedError struct {
	Code    protocol.ErrorCode // INVALID_TIMESTAMP or INVALID_RECORD
	Records []Rejection        // the first maxRejections of them, ascending
	Total   int
}

// Rejection is one record that is not taken.
type Rejection struct {
	Index  int32 // in the batch
	Reason string
}

// Error says what is wrong with the first one.
func (e *RejectedError) Error() string { return e.Unwrap().Error() }

// Unwrap returns what a client sees for the whole batch.
func (e *RejectedError) Unwrap() error {
	return protocol.Errorf(e.Code, "%d records were rejected, the first at index %d: %s", e.Total, e.Records[0].Index, e.Records[0].Reason)
}

// add notes a record. A timestamp out of range decides the code of the batch.
func (e *RejectedError) add(index int32, code protocol.ErrorCode, format string, args ...any) {
	if e.Total++; e.Total <= maxRejections {
		e.Records = append(e.Records, Rejection{index, fmt.Sprintf(format, args...)})
	}
	if e.Code != protocol.InvalidTimestamp {
		e.Code = code
	}
}

// CheckRecords reads every record of a batch that has passed Validate, as a
// consumer will, and returns the largest timestamp in it, NoTimestamp if there is
// none. It decompresses as a stream and keeps nothing, so its memory does not grow
// with the batch, except for raw snappy, which is one block.
//
// It wants as many records as the header counts, each of the length that it says,
// with offset deltas that count up from zero, and not a byte behind them.
//
// Errors are *protocol.Error: INVALID_RECORD for a batch that consumers could not
// read, MESSAGE_TOO_LARGE for one that decompresses to more than the limits allow
// (Java's producer then splits it); or a *RejectedError by the rules, with
// INVALID_TIMESTAMP or INVALID_RECORD.
func (b Batch) CheckRecords(rules Rules) (maxTimestamp int64, err error) {
	if b.IsLogAppendTime() {
		return NoTimestamp, protocol.Errorf(protocol.InvalidTimestamp, "producers may not set the timestamp type LogAppendTime")
	}
	if b.Codec() == None {
		maxTimestamp, err = b.check(rules)
		return maxTimestamp, unreadable(err)
	}
	quick := rules
	quick.Limits.MaxBytes = min(rules.Limits.MaxBytes, max(ratioFree, quickRatio*len(b.Payload())))
	maxTimestamp, err = b.checkIn(quickLane, quick)
	if errors.Is(err, ErrTooLarge) && quick.Limits.bytesFor(len(b.Payload())) < rules.Limits.bytesFor(len(b.Payload())) {
		maxTimestamp, err = b.checkIn(slowLane, rules)
	}
	return maxTimestamp, unreadable(err)
}

// checkIn waits for its turn.
func (b Batch) checkIn(lane chan struct{}, rules Rules) (maxTimestamp int64, err error) {
	lane <- struct{}{}
	defer func() { <-lane }()
	return b.check(rules)
}

// check is CheckRecords with errors that wrap ErrMalformed.
func (b Batch) check(rules Rules) (maxTimestamp int64, err error) {
	w, err := openWindow(b.Codec(), b.Payload(), rules.Limits)
	if err != nil {
		return NoTimestamp, err
	}
	defer w.close()
	c := checker{batch: b, rules: rules, window: w, maxTimestamp: NoTimestamp}
	if err := c.records(); err != nil {
		return NoTimestamp, err
	}
	if c.errors.Total > 0 {
		return NoTimestamp, &c.errors
	}
	return c.maxTimestamp, nil
}

// unreadable is what a client sees of an error that wraps ErrMalformed.
func unreadable(err error) error {
	switch {
	case errors.Is(err, ErrTooLarge):
		return protocol.Errorf(protocol.MessageTooLarge, "%v", err)
	case errors.Is(err, ErrMalformed):
		return protocol.Errorf(protocol.InvalidRecord, "record batch cannot be read: %v", err)
	}
	return err
}

// checker walks over the records of one batch.
type checker struct {
	batch        Batch
	rules        Rules
	window       *window
	errors       RejectedError
	maxTimestamp int64
}

func (c *checker) records() error {
	count := c.batch.Count()
	for i := range count {
		if err := c.record(i); err != nil {
			return fmt.Errorf("record %d of %d: %w", i+1, count, err)
		}
	}
	if c.window.more() {
		return fmt.Errorf("%w: bytes follow the last of %d records", ErrMalformed, count)
	}
	return c.window.err
}

// record reads the record with an index: at once if all of it is in the window, as
// most are, else field by field.
func (c *checker) record(index int32) error {
	w := c.window
	if n, timestamp, keyed := scanRecord(w.buf, int64(index)); n > 0 {
		w.buf = w.buf[n:]
		w.before += int64(n)
		c.judge(index, c.batch.FirstTimestamp()+timestamp, keyed)
		return nil
	}
	length := w.varint()
	end := w.position() + length
	w.skip(1) // attributes: none defined
	timestamp := c.batch.FirstTimestamp() + w.varint()
	delta := w.varint()
	key := w.skipNullable()
	w.skipNullable() // value
	w.skipHeaders()
	switch {
	case w.err != nil:
		return w.err
	case w.position() != end:
		return fmt.Errorf("%w: its fields take %d bytes, not its length of %d", ErrMalformed, w.position()-end+length, length)
	case delta != int64(index):
		return fmt.Errorf("%w: its offset delta is %d", ErrMalformed, delta)
	}
	c.judge(index, timestamp, key >= 0)
	return nil
}

// judge applies the rules to a record that is whole.
func (c *checker) judge(index int32, timestamp int64, keyed bool) {
	switch {
	case c.rules.Keyed && !keyed:
		c.errors.add(index, protocol.InvalidRecord, "a compacted topic takes no record without a key")
	case timestamp != NoTimestamp && (timestamp < c.rules.Earliest || timestamp > c.rules.Latest):
		c.errors.add(index, protocol.InvalidTimestamp, "timestamp %d is not between %d and %d", timestamp, c.rules.Earliest, c.rules.Latest)
	}
	c.maxTimestamp = max(c.maxTimestamp, timestamp)
}
