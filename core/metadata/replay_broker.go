package metadata

import "fmt"

func (d *Delta) replayCluster(rec ClusterRecord) error {
	if rec.ID == "" {
		return fmt.Errorf("replay cluster: empty id")
	}
	if d.next.ClusterID != "" && d.next.ClusterID != rec.ID {
		return fmt.Errorf("replay cluster: id %q, the cluster is %q", rec.ID, d.next.ClusterID)
	}
	d.next.ClusterID = rec.ID
	return nil
}

func (d *Delta) replayRegisterBroker(rec RegisterBrokerRecord) error {
	if rec.ID < 0 || rec.Epoch < d.next.NextBrokerEpoch {
		return fmt.Errorf("replay registration of broker %d: epoch %d, want at least %d", rec.ID, rec.Epoch, d.next.NextBrokerEpoch)
	}
	d.mutableBrokers()[rec.ID] = &Broker{
		ID:                   rec.ID,
		Epoch:                rec.Epoch,
		Incarnation:          rec.Incarnation,
		Rack:                 rec.Rack,
		Listeners:            rec.Listeners,
		Cluster:              rec.Cluster,
		Fenced:               rec.Fenced,
		InControlledShutdown: rec.InControlledShutdown,
		Replica:              rec.Replica,
	}
	d.next.NextBrokerEpoch = rec.Epoch + 1
	d.next.NextReplicaID = max(d.next.NextReplicaID, rec.Replica+1, uint64(rec.ID)+1) // the first replicas have brokers' ids
	return nil
}

func (d *Delta) replayBrokerChange(rec BrokerChangeRecord) error {
	b, err := d.brokerOfEpoch(rec.ID, rec.Epoch)
	if err != nil {
		return fmt.Errorf("replay broker change: %w", err)
	}
	changed := *b
	if rec.Fenced != nil {
		changed.Fenced = *rec.Fenced
	}
	if rec.InControlledShutdown != nil {
		changed.InControlledShutdown = *rec.InControlledShutdown
	}
	d.mutableBrokers()[rec.ID] = &changed
	return nil
}

func (d *Delta) replayUnregisterBroker(rec UnregisterBrokerRecord) error {
	if _, err := d.brokerOfEpoch(rec.ID, rec.Epoch); err != nil {
		return fmt.Errorf("replay unregistration: %w", err)
	}
	delete(d.mutableBrokers(), rec.ID)
	return nil
}

func (d *Delta) replayBrokerEpoch(rec BrokerEpochRecord) error {
	if rec.Next < d.next.NextBrokerEpoch {
		return fmt.Errorf("replay broker epoch: %d after %d", rec.Next, d.next.NextBrokerEpoch)
	}
	d.next.NextBrokerEpoch = rec.Next
	return nil
}

func (d *Delta) replayReplicaID(rec ReplicaIDRecord) error {
	if rec.Next < d.next.NextReplicaID {
		return fmt.Errorf("replay replica id: next %d after %d", rec.Next, d.next.NextReplicaID)
	}
	d.next.NextReplicaID = rec.Next
	return nil
}

func (d *Delta) replayProducerIDs(rec ProducerIDsRecord) error {
	if rec.NextProducerID <= d.next.NextProducerID {
		return fmt.Errorf("replay producer ids: next %d after %d", rec.NextProducerID, d.next.NextProducerID)
	}
	d.next.NextProducerID = rec.NextProducerID
	return nil
}

func (d *Delta) brokerOfEpoch(id int32, epoch int64) (*Broker, error) {
	b, ok := d.next.brokers[id]
	if !ok {
		return nil, fmt.Errorf("no broker %d", id)
	}
	if b.Epoch != epoch {
		return nil, fmt.Errorf("broker %d has epoch %d, not %d", id, b.Epoch, epoch)
	}
	return b, nil
}
