package wal

// ExpireProducers forgets the producers that have written nothing for ProducerExpiry and
// have no open transaction. It takes the log's mutex for as long as it looks at them.
// What they send then is taken as from a new producer, as after Kafka's
// producer.id.expiration.ms.
func (l *Log) ExpireProducers() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.producers.expire(l.now())
}
