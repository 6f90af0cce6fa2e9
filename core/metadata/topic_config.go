package metadata

// BrokerDefaults are the broker's own settings by Kafka's broker names, such as
// "min.insync.replicas" or "log.retention.ms". Those that are missing have the
// default of the table.
type BrokerDefaults map[string]string

// TopicConfig is what a topic's configuration is, wherever a value comes from.
type TopicConfig struct{}

// TopicConfig returns the configuration of a topic, which need not exist.
func (i *Image) TopicConfig(topic string, defaults BrokerDefaults) TopicConfig { return TopicConfig{} }
