package replica

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// isrTimeout is how long the controller may take for an answer.
const isrTimeout = 5 * time.Second

// runISR asks the controller for changed ISRs, everything that waits in one
// request and one request at a time, and looks for followers that lag.
func (m *Manager) runISR(ctx context.Context) error {
	lagging := time.NewTicker(m.cfg.ReplicaLagTimeMax / 2)
	defer lagging.Stop()
	silent := time.NewTicker(m.cfg.silentAfter() / 2)
	defer silent.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.isrChanges.kick:
		case <-retry.C:
		case <-lagging.C:
			now := time.Now()
			for _, p := range *m.partitions.Load() {
				p.proposeISR(now)
			}
		case <-silent.C:
			m.releaseMarks(time.Now())
		}
		if m.changeISRs(ctx) {
			retry.Reset(isrRetry)
		}
	}
}

// changeISRs sends one AlterPartition with all changes that are due. It tells if
// there is anything to come back for.
func (m *Manager) changeISRs(ctx context.Context) (again bool) {
	now := time.Now()
	req, asked := m.alterPartitionRequest(now)
	if len(asked) > 0 {
		ctx, cancel := context.WithTimeout(ctx, isrTimeout)
		defer cancel()
		resp, err := m.alterPartition(ctx, req)
		if err != nil {
			m.log.Warn("cannot change in-sync replicas", "partitions", len(asked), "error", err)
		} else {
			answerISRs(resp, asked, time.Now())
		}
	}
	for _, a := range asked {
		a.p.proposeISR(time.Now()) // back into the set unless it is settled
	}
	return !m.isrChanges.empty()
}

// askedISR is a change that a request holds.
type askedISR struct {
	p              *Partition
	partitionEpoch int32
}

// alterPartitionRequest takes what is due from the set; what has to wait stays.
func (m *Manager) alterPartitionRequest(now time.Time) (*kmsg.AlterPartitionRequest, map[partitionKey]askedISR) {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.BrokerID, req.BrokerEpoch = m.cfg.BrokerID, m.brokerEpoch()
	asked := map[partitionKey]askedISR{}
	topics := map[[16]byte]int{}
	for p := range m.isrChanges.take() {
		part, wait, ok := p.isrRequest(now)
		if wait > 0 {
			m.isrChanges.keep(p)
		}
		if !ok {
			continue
		}
		i, known := topics[p.key.topic]
		if !known {
			t := kmsg.NewAlterPartitionRequestTopic()
			t.TopicID = p.key.topic
			i = len(req.Topics)
			req.Topics, topics[p.key.topic] = append(req.Topics, t), i
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, part)
		asked[p.key] = askedISR{p, part.PartitionEpoch}
	}
	return req, asked
}

func (m *Manager) alterPartition(ctx context.Context, req *kmsg.AlterPartitionRequest) (*kmsg.AlterPartitionResponse, error) {
	req.Version = alterPartitionVersion
	resp, err := m.isr.Do(ctx, req)
	if err != nil {
		return nil, err
	}
	altered, ok := resp.(*kmsg.AlterPartitionResponse)
	if !ok {
		return nil, fmt.Errorf("alter partition was answered with %T", resp)
	}
	if altered.ErrorCode != 0 {
		return nil, protocol.Errorf(protocol.ErrorCode(altered.ErrorCode), "the controller refused to alter partitions")
	}
	return altered, nil
}

// alterPartitionVersion names ISR members with their registrations (KIP-903).
const alterPartitionVersion = 3

// answerISRs hands each partition its answer.
func answerISRs(resp *kmsg.AlterPartitionResponse, asked map[partitionKey]askedISR, now time.Time) {
	for _, t := range resp.Topics {
		for _, part := range t.Partitions {
			if a, ok := asked[partitionKey{metadata.UUID(t.TopidID), part.Partition}]; ok {
				a.p.isrAnswered(a.partitionEpoch, protocol.ErrorCode(part.ErrorCode), now)
			}
		}
	}
}
