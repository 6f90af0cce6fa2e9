package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// worker sends one request at a time: it is one of those in flight on a connection.
type worker struct {
	p       *producer
	client  *kgo.Client
	broker  int32
	cursor  *atomic.Int64 // of the broker's partitions, in the closed loop
	batcher *batcher
}

// parcel is a batch on its way.
type parcel struct {
	portion
	count int64 // records; indexes are not known in the closed loop
	bytes []byte
	since time.Time // the intended time of its first record
}

func (w *worker) run(ctx context.Context) {
	for {
		parcels := w.take(ctx)
		if len(parcels) == 0 {
			return
		}
		w.deliver(ctx, parcels)
	}
}

// take returns the next request's batches, nothing if the run is over.
func (w *worker) take(ctx context.Context) []parcel {
	if w.p.backlog == nil {
		return w.repeat(ctx)
	}
	var out []parcel
	for _, portion := range w.p.backlog.take(w.broker, w.p.perRequest(), w.p.perBatch()) {
		b := append([]byte(nil), w.batcher.build(portion.indexes)...)
		since := time.Now()
		if w.p.Rate > 0 {
			since = w.p.plan.due(portion.indexes[0])
		}
		out = append(out, parcel{portion, int64(len(portion.indexes)), b, since})
	}
	return out
}

// repeat is the closed loop: the batch that was made before the run, for as many of
// the broker's partitions as a request takes, in turn.
func (w *worker) repeat(ctx context.Context) []parcel {
	led := w.awaitLed(ctx)
	if len(led) == 0 {
		return nil
	}
	perBatch := int64(w.p.perBatch())
	count := min(len(led), max(1, w.p.perRequest()/int(perBatch)))
	first := w.cursor.Add(int64(count)) - int64(count)
	var out []parcel
	now := time.Now()
	for i := range count {
		// What goes beyond the last record is sent all the same, but for whole batches.
		if w.p.issued.Add(perBatch) > w.p.plan.count+perBatch-1 {
			w.p.issued.Add(-perBatch)
			w.p.end()
			break
		}
		partition := led[(first+int64(i))%int64(len(led))]
		out = append(out, parcel{portion{partition: partition}, perBatch, w.p.full, now})
	}
	return out
}

// lookAgain is how often a worker looks whether its broker leads something by now.
const lookAgain = 100 * time.Millisecond

// awaitLed waits until the worker's broker leads partitions, and returns them; or
// none, when the run is over.
func (w *worker) awaitLed(ctx context.Context) []int32 {
	for {
		select {
		case <-w.p.ended:
			return nil
		default:
		}
		if led := w.led(); len(led) > 0 {
			return led
		}
		if slices.Max(*w.p.top.leaders.Load()) < 0 { // else those who send ask
			if err := w.p.top.refresh(ctx); err != nil {
				w.p.failed.add(fmt.Errorf("metadata: %w", err), 1)
			}
		}
		pause := time.NewTimer(lookAgain)
		select {
		case <-w.p.ended:
		case <-pause.C:
		}
		pause.Stop()
	}
}

// led is the partitions that the worker's broker leads.
func (w *worker) led() []int32 {
	var out []int32
	for partition, leader := range *w.p.top.leaders.Load() {
		if leader == w.broker {
			out = append(out, int32(partition))
		}
	}
	return out
}

// deliver sends until everything is acknowledged, given up or refused for good.
func (w *worker) deliver(ctx context.Context, parcels []parcel) {
	if w.p.backlog != nil {
		for _, x := range parcels {
			w.p.issued.Add(x.count)
		}
	}
	for len(parcels) > 0 {
		var again []parcel
		for leader, group := range w.byLeader(parcels) {
			again = append(again, w.send(ctx, leader, group)...)
		}
		if len(again) == 0 {
			return
		}
		w.p.retried.Add(sum(again))
		if err := w.p.top.refresh(ctx); err != nil {
			w.p.failed.add(fmt.Errorf("metadata: %w", err), 1)
		}
		parcels = w.unexpired(again)
	}
}

// byLeader groups batches by who leads their partitions now.
func (w *worker) byLeader(parcels []parcel) map[int32][]parcel {
	out := make(map[int32][]parcel, 1)
	for _, x := range parcels {
		leader := w.p.top.leader(x.partition)
		out[leader] = append(out[leader], x)
	}
	return out
}

func (w *worker) unexpired(parcels []parcel) []parcel {
	out := parcels[:0]
	for _, x := range parcels {
		if time.Since(x.since) > w.p.Timeout {
			w.p.lost.Add(x.count)
			w.p.failed.add(errors.New("given up"), x.count)
			continue
		}
		out = append(out, x)
	}
	return out
}

// send sends one request and returns what has to be sent again.
func (w *worker) send(ctx context.Context, leader int32, parcels []parcel) (again []parcel) {
	if leader < 0 {
		w.p.failed.add(kerr.LeaderNotAvailable, int64(len(parcels)))
		return parcels
	}
	resp, err := w.client.Broker(int(leader)).Request(ctx, w.request(parcels))
	now := time.Now()
	if err != nil {
		return w.refused(parcels, err)
	}
	produced, ok := resp.(*kmsg.ProduceResponse)
	if !ok {
		return w.refused(parcels, fmt.Errorf("a %T in answer to a produce request", resp))
	}
	if w.p.Acks == 0 {
		w.acknowledged(parcels, now)
		return nil
	}
	codes := codesOf(produced)
	done := parcels[:0:0]
	for _, x := range parcels {
		code, ok := codes(x.partition)
		if err := kerr.ErrorForCode(code); !ok {
			again = append(again, w.refused([]parcel{x}, fmt.Errorf("no answer for partition %d", x.partition))...)
		} else if err != nil {
			again = append(again, w.refused([]parcel{x}, err)...)
		} else {
			done = append(done, x)
		}
	}
	w.acknowledged(done, now)
	return again
}

func (w *worker) request(parcels []parcel) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks = w.p.Acks
	req.TimeoutMillis = int32(w.p.Timeout.Milliseconds())
	topic := kmsg.NewProduceRequestTopic()
	topic.Topic, topic.TopicID = w.p.top.topic, w.p.top.id
	topic.Partitions = make([]kmsg.ProduceRequestTopicPartition, len(parcels))
	for i, x := range parcels {
		topic.Partitions[i].Partition, topic.Partitions[i].Records = x.partition, x.bytes
	}
	req.Topics = append(req.Topics, topic)
	return req
}

// codesOf finds the error code of a partition. Brokers answer in the order of the
// request, so the next one is looked at first.
func codesOf(resp *kmsg.ProduceResponse) func(partition int32) (code int16, ok bool) {
	var all []kmsg.ProduceResponseTopicPartition
	for _, t := range resp.Topics {
		all = append(all, t.Partitions...)
	}
	next := 0
	return func(partition int32) (int16, bool) {
		for range all {
			at := next % len(all)
			next++
			if all[at].Partition == partition {
				return all[at].ErrorCode, true
			}
		}
		return 0, false
	}
}

// refused notes an error and returns what to send again.
func (w *worker) refused(parcels []parcel, err error) []parcel {
	w.p.failed.add(err, int64(len(parcels)))
	if mayPass(err) {
		return parcels
	}
	w.p.lost.Add(sum(parcels))
	return nil
}

// acknowledged notes the latencies of what was acknowledged by now.
func (w *worker) acknowledged(parcels []parcel, now time.Time) {
	if len(parcels) == 0 {
		return
	}
	w.p.mu.Lock()
	var counted int64
	for _, x := range parcels {
		counted += w.p.noteBoth(x, now)
	}
	w.p.mu.Unlock()
	w.p.acked.Add(counted)
	w.p.lastAck.Store(int64(since(now)))
	if w.p.observe == nil {
		return
	}
	for _, x := range parcels {
		w.p.observe(x.indexes)
	}
}

// noteBoth notes the latencies of a batch and returns how many of its records are
// in the measured time. The caller holds mu.
func (p *producer) noteBoth(x parcel, now time.Time) int64 {
	if p.Rate == 0 {
		note(p.recent, now.Sub(x.since), x.count)
		if x.since.Before(p.from) {
			if now.Before(p.from) {
				return 0
			}
			return x.count // its bytes count, its latency does not
		}
		note(p.total, now.Sub(x.since), x.count)
		return x.count
	}
	var counted int64
	for _, i := range x.indexes {
		due := p.plan.due(i)
		note(p.recent, now.Sub(due), 1)
		if !due.Before(p.from) {
			note(p.total, now.Sub(due), 1)
			counted++
		}
	}
	return counted
}

// sum is how many records batches have.
func sum(parcels []parcel) (n int64) {
	for _, x := range parcels {
		n += x.count
	}
	return n
}
