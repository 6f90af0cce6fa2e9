package replica

import (
	"cmp"
	"slices"

	"github.com/quorate/quorate/core/wal"
)

// maxAborted is how many aborted transactions an answer names, so that its size is not
// up to producers. If there are more, it has fewer records.
const maxAborted = 4096

// readCommitted is the result for a reader of committed records: with the aborted
// transactions among the records.
func (p *Partition) readCommitted(r ReadRequest, records *wal.Span) (ReadResult, error) {
	aborted, err := p.abortedIn(r, records)
	if err == nil && len(aborted) > maxAborted {
		// What begins behind the first so many is left to the next fetch; those that
		// began before this one's offset cannot be.
		slices.SortFunc(aborted, func(a, b wal.AbortedTransaction) int { return cmp.Compare(a.First, b.First) })
		if end := aborted[maxAborted].First; end > r.Offset {
			records.Release()
			if records, err = p.spanUpTo(r, end); err == nil {
				aborted, err = p.abortedIn(r, records)
			}
		}
	}
	if err != nil {
		if records != nil {
			records.Release()
		}
		return p.result(nil), err
	}
	res := p.result(records)
	res.Aborted = aborted
	return res, nil
}

// abortedIn returns the aborted transactions among records that begin at r.Offset; never nil.
func (p *Partition) abortedIn(r ReadRequest, records *wal.Span) ([]wal.AbortedTransaction, error) {
	if records == nil {
		return []wal.AbortedTransaction{}, nil
	}
	aborted, err := p.wal.AbortedTransactions(r.Offset, records.End())
	if err != nil {
		return nil, p.logError("read aborted transactions of", err)
	}
	if aborted == nil {
		aborted = []wal.AbortedTransaction{}
	}
	return aborted, nil
}
