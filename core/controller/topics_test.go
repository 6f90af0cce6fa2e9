package controller

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

func assignment(partition int32, replicas ...int32) kmsg.CreateTopicsRequestTopicReplicaAssignment {
	return kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: partition, Replicas: replicas}
}

func config(name string, value *string) []kmsg.CreateTopicsRequestTopicConfig {
	return []kmsg.CreateTopicsRequestTopicConfig{{Name: name, Value: value}}
}

func TestCreateTopics(t *testing.T) {
	type topic = kmsg.CreateTopicsRequestTopic
	type assigned = []kmsg.CreateTopicsRequestTopicReplicaAssignment
	tests := []struct {
		name    string
		topic   topic
		want    protocol.ErrorCode
		message string
	}{
		{name: "plain", topic: topic{Topic: "a", NumPartitions: 3, ReplicationFactor: 2}},
		{name: "defaults", topic: topic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1}},
		{name: "exists", topic: topic{Topic: "orders", NumPartitions: 1, ReplicationFactor: 1}, want: protocol.TopicAlreadyExists, message: "Topic 'orders' already exists."},
		{name: "a path", topic: topic{Topic: "../x", NumPartitions: 1, ReplicationFactor: 1}, want: protocol.InvalidTopicException, message: `"../x" contains one or more characters other than`},
		{name: "empty", topic: topic{NumPartitions: 1, ReplicationFactor: 1}, want: protocol.InvalidTopicException, message: "the empty string"},
		{name: "dots", topic: topic{Topic: "..", NumPartitions: 1, ReplicationFactor: 1}, want: protocol.InvalidTopicException, message: "'..' is not allowed"},
		{name: "too long", topic: topic{Topic: strings.Repeat("x", 250), NumPartitions: 1, ReplicationFactor: 1}, want: protocol.InvalidTopicException, message: "longer than the max allowed length 249"},
		{name: "collides", topic: topic{Topic: "a_b", NumPartitions: 1, ReplicationFactor: 1}, want: protocol.InvalidTopicException, message: "Topic 'a_b' collides with existing topic: a.b"},
		{name: "reserved", topic: topic{Topic: "__cluster_metadata", NumPartitions: 1, ReplicationFactor: 1}, want: protocol.InvalidRequest, message: "prohibited"},
		{name: "no partitions", topic: topic{Topic: "a", ReplicationFactor: 1}, want: protocol.InvalidPartitions, message: "non-positive"},
		{name: "too many partitions", topic: topic{Topic: "a", NumPartitions: 2001, ReplicationFactor: 1}, want: protocol.InvalidPartitions, message: "At most 2000"},
		{name: "no replicas", topic: topic{Topic: "a", NumPartitions: 1}, want: protocol.InvalidReplicationFactor, message: "larger than 0"},
		{name: "too many replicas", topic: topic{Topic: "a", NumPartitions: 1, ReplicationFactor: 5}, want: protocol.InvalidReplicationFactor, message: "Unable to replicate the partition 5 time(s): only 4 broker(s) are registered, 3 of them alive."},
		{name: "unknown config", topic: topic{Topic: "a", NumPartitions: 1, ReplicationFactor: 1, Configs: config("colour", new("red"))}, want: protocol.InvalidConfig, message: "Unknown topic config name: colour"},
		{name: "bad config", topic: topic{Topic: "a", NumPartitions: 1, ReplicationFactor: 1, Configs: config("retention.ms", new("-5"))}, want: protocol.InvalidConfig, message: "Invalid value -5 for configuration retention.ms"},
		{name: "null config", topic: topic{Topic: "a", NumPartitions: 1, ReplicationFactor: 1, Configs: config("retention.ms", nil)}, want: protocol.InvalidConfig, message: "Null value"},
		{name: "assigned", topic: topic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned{assignment(1, 2, 1), assignment(0, 4, 3)}}},
		{name: "assigned and counted", topic: topic{Topic: "a", NumPartitions: 2, ReplicationFactor: -1, ReplicaAssignment: assigned{assignment(0, 1)}}, want: protocol.InvalidRequest, message: "not both set to -1"},
		{name: "assigned with a gap", topic: topic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned{assignment(0, 1), assignment(2, 1)}}, want: protocol.InvalidReplicaAssignment, message: "consecutive"},
		{name: "assigned to nobody", topic: topic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned{assignment(0)}}, want: protocol.InvalidReplicaAssignment, message: "empty replica list"},
		{name: "assigned unevenly", topic: topic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned{assignment(0, 1), assignment(1, 1, 2)}}, want: protocol.InvalidReplicaAssignment, message: "not consistent"},
		{name: "assigned to an unknown broker", topic: topic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned{assignment(0, 9)}}, want: protocol.InvalidReplicaAssignment, message: "no such broker"},
		{name: "assigned twice", topic: topic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned{assignment(0, 1, 1)}}, want: protocol.InvalidReplicaAssignment, message: "more than once"},
		{name: "assigned to the dead", topic: topic{Topic: "a", NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: assigned{assignment(0, 4)}}, want: protocol.InvalidReplicaAssignment, message: "fenced"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := append(brokerRecords(4), fence(4))
			records = append(records, topicRecords("orders", orders, on(1, []int32{1}, 1))...)
			records = append(records, topicRecords("a.b", metadata.UUID{2}, on(1, []int32{1}, 1))...)
			r := testRound(image(t, records...))
			req := kmsg.NewPtrCreateTopicsRequest()
			req.Topics = []topic{tt.topic}
			got := r.createTopics(req).Topics[0]
			if code(got.ErrorCode) != tt.want {
				t.Fatalf("got %v, want %v", code(got.ErrorCode), tt.want)
			}
			if tt.want != protocol.None {
				if got.ErrorMessage == nil || !strings.Contains(*got.ErrorMessage, tt.message) || len(r.steps) > 0 {
					t.Errorf("message %v, records %v, want %q", *got.ErrorMessage, r.records(), tt.message)
				}
				return
			}
			made, ok := r.delta.Topic(tt.topic.Topic)
			if !ok || made.ID != got.TopicID || len(made.Partitions) != int(got.NumPartitions) || len(r.steps) != 1 {
				t.Fatalf("made %+v, answered %+v", made, got)
			}
			for n, p := range made.Partitions {
				if p.Leader == 4 || slices.Contains(p.ISR, 4) {
					t.Errorf("partition %d counts on a fenced broker: %+v", n, p)
				}
			}
		})
	}
}

func TestCreateTopicsTogether(t *testing.T) {
	r := testRound(image(t, brokerRecords(1)...))
	one := func(name string) kmsg.CreateTopicsRequestTopic {
		return kmsg.CreateTopicsRequestTopic{Topic: name, NumPartitions: 1, ReplicationFactor: 1}
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = []kmsg.CreateTopicsRequestTopic{one("a"), one("twice"), one("b"), one("twice")}
	var got []string
	for _, o := range r.createTopics(req).Topics {
		got = append(got, o.Topic+" "+code(o.ErrorCode).String())
	}
	want := []string{"a NONE", "twice INVALID_REQUEST", "b NONE", "twice INVALID_REQUEST"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	req.Topics, req.ValidateOnly = []kmsg.CreateTopicsRequestTopic{one("c"), one("a")}, true
	out := r.createTopics(req).Topics
	if out[0].ErrorCode != 0 || out[0].TopicID != [16]byte{} || len(out[0].Configs) != len(metadata.TopicConfigs) || code(out[1].ErrorCode) != protocol.TopicAlreadyExists {
		t.Errorf("only validated: %+v", out)
	}
	if _, ok := r.delta.Topic("c"); ok {
		t.Error("validation created a topic")
	}
}

func TestDeleteAndCreateIsAnotherTopic(t *testing.T) {
	r := testRound(image(t, append(brokerRecords(1), topicRecords("orders", orders, on(1, []int32{1}, 1))...)...))
	del := kmsg.NewPtrDeleteTopicsRequest()
	del.TopicNames = []string{"nobody"}
	del.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: orders}, {TopicID: orders}, {}, {Topic: new("orders"), TopicID: orders}, {Topic: new("orders")}}
	var got []protocol.ErrorCode
	for _, o := range r.deleteTopics(del).Topics {
		got = append(got, code(o.ErrorCode))
	}
	want := []protocol.ErrorCode{protocol.None, protocol.UnknownTopicID, protocol.InvalidRequest, protocol.InvalidRequest, protocol.UnknownTopicOrPartition, protocol.UnknownTopicOrPartition}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("deletions (-want +got):\n%s", d)
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "orders", NumPartitions: 1, ReplicationFactor: 1}}
	if o := r.createTopics(create).Topics[0]; o.ErrorCode != 0 || o.TopicID == orders || o.TopicID == (metadata.UUID{}) {
		t.Errorf("created again as %+v", o)
	}
}

func TestCreatePartitions(t *testing.T) {
	type wish = kmsg.CreatePartitionsRequestTopic
	type assigned = []kmsg.CreatePartitionsRequestTopicAssignment
	tests := []struct {
		name string
		wish wish
		want protocol.ErrorCode
		have int
	}{
		{name: "more", wish: wish{Topic: "orders", Count: 5}, have: 5},
		{name: "assigned", wish: wish{Topic: "orders", Count: 2, Assignment: assigned{{Replicas: []int32{3, 1}}}}, have: 2},
		{name: "no topic", wish: wish{Topic: "x", Count: 5}, want: protocol.UnknownTopicOrPartition},
		{name: "as many", wish: wish{Topic: "orders", Count: 1}, want: protocol.InvalidPartitions},
		{name: "fewer", wish: wish{Topic: "orders", Count: 0}, want: protocol.InvalidPartitions},
		{name: "very many", wish: wish{Topic: "orders", Count: 1 << 30}, want: protocol.InvalidPartitions},
		{name: "assigned in the wrong number", wish: wish{Topic: "orders", Count: 3, Assignment: assigned{{Replicas: []int32{3, 1}}}}, want: protocol.InvalidReplicaAssignment},
		{name: "assigned with another factor", wish: wish{Topic: "orders", Count: 2, Assignment: assigned{{Replicas: []int32{3}}}}, want: protocol.InvalidReplicaAssignment},
		{name: "offsets", wish: wish{Topic: "__consumer_offsets", Count: 5}, want: protocol.InvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := append(brokerRecords(3), topicRecords("orders", orders, on(1, []int32{1}, 1, 2))...)
			records = append(records, topicRecords("__consumer_offsets", metadata.UUID{2}, on(1, []int32{1}, 1))...)
			r := testRound(image(t, records...))
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.Topics = []wish{tt.wish}
			if got := r.createPartitions(req).Topics[0]; code(got.ErrorCode) != tt.want {
				t.Fatalf("got %v, want %v", code(got.ErrorCode), tt.want)
			}
			topic, _ := r.delta.TopicByID(orders)
			if got := len(topic.Partitions); got != max(1, tt.have) {
				t.Errorf("%d partitions", got)
			}
			if last := topic.Partitions[len(topic.Partitions)-1]; len(last.Replicas) != 2 {
				t.Errorf("replicas %v, want the topic's factor", last.Replicas)
			}
		})
	}
}

func TestPlacement(t *testing.T) {
	tests := []struct {
		name    string
		racks   []string // of brokers 1, 2, …; a trailing ! means fenced
		factor  int
		perRack bool // no two replicas on one rack
	}{
		{name: "three brokers", racks: []string{"", "", ""}, factor: 3},
		{name: "five brokers", racks: []string{"", "", "", "", ""}, factor: 3},
		{name: "three racks", racks: []string{"a", "a", "b", "b", "c", "c"}, factor: 3, perRack: true},
		{name: "uneven racks", racks: []string{"a", "a", "a", "b", "c"}, factor: 3, perRack: true},
		{name: "one is fenced", racks: []string{"", "", "!"}, factor: 3},
		{name: "one broker", racks: []string{""}, factor: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := metadata.NewDelta(metadata.Empty())
			rack := map[int32]string{}
			alive := 0
			for n, name := range tt.racks {
				id := int32(n + 1)
				rack[id] = strings.TrimSuffix(name, "!")
				fenced := rack[id] != name
				if !fenced {
					alive++
				}
				if err := d.Replay(metadata.RegisterBrokerRecord{ID: id, Epoch: int64(id), Rack: rack[id], Fenced: fenced}); err != nil {
					t.Fatal(err)
				}
			}
			place := newPlacement(d, testRound(metadata.Empty()).random)
			leads, holds := map[int32]int{}, map[string]int{}
			const partitions = 60
			for p := range partitions {
				replicas := place.replicas(p, tt.factor)
				leads[replicas[0]]++
				used := map[string]int{}
				for n, id := range replicas {
					if slices.Contains(replicas[:n], id) {
						t.Fatalf("partition %d: %v", p, replicas)
					}
					used[rack[id]]++
					holds[fmt.Sprint(id)]++
				}
				if tt.perRack && len(used) != tt.factor {
					t.Errorf("partition %d: %v are on %d racks", p, replicas, len(used))
				}
			}
			for id, n := range leads {
				if n != partitions/alive {
					t.Errorf("broker %d leads %d of %d", id, n, partitions)
				}
			}
			if len(holds) != len(tt.racks) {
				t.Errorf("replicas per broker: %v", holds)
			}
		})
	}
}

func TestAlterConfigs(t *testing.T) {
	type change = kmsg.IncrementalAlterConfigsRequestResourceConfig
	const set, del, app, sub = kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete, kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	topic, broker := kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker
	tests := []struct {
		name     string
		kind     kmsg.ConfigResourceType
		resource string
		changes  []change
		want     protocol.ErrorCode
		config   map[string]string
	}{
		{name: "set", kind: topic, resource: "orders", changes: []change{{Name: "segment.ms", Op: set, Value: new("9")}}, config: map[string]string{"retention.ms": "5", "segment.ms": "9"}},
		{name: "set to what it is", kind: topic, resource: "orders", changes: []change{{Name: "retention.ms", Op: set, Value: new("5")}}, config: map[string]string{"retention.ms": "5"}},
		{name: "delete", kind: topic, resource: "orders", changes: []change{{Name: "retention.ms", Op: del}}},
		{name: "append", kind: topic, resource: "orders", changes: []change{{Name: "cleanup.policy", Op: app, Value: new("compact")}}, config: map[string]string{"retention.ms": "5", "cleanup.policy": "delete,compact"}},
		{name: "subtract all", kind: topic, resource: "orders", changes: []change{{Name: "cleanup.policy", Op: sub, Value: new("delete")}}, want: protocol.InvalidConfig},
		{name: "append to a number", kind: topic, resource: "orders", changes: []change{{Name: "retention.ms", Op: app, Value: new("5")}}, want: protocol.InvalidConfig},
		{name: "twice", kind: topic, resource: "orders", changes: []change{{Name: "retention.ms", Op: del}, {Name: "retention.ms", Op: del}}, want: protocol.InvalidRequest},
		{name: "all or nothing", kind: topic, resource: "orders", changes: []change{{Name: "retention.ms", Op: del}, {Name: "segment.ms", Op: set, Value: new("x")}}, want: protocol.InvalidConfig},
		{name: "unknown", kind: topic, resource: "orders", changes: []change{{Name: "colour", Op: set, Value: new("x")}}, want: protocol.InvalidConfig},
		{name: "no topic", kind: topic, resource: "x", want: protocol.UnknownTopicOrPartition},
		{name: "all brokers", kind: broker, changes: []change{{Name: "log.retention.ms", Op: set, Value: new("8")}}, config: map[string]string{"log.retention.ms": "8"}},
		{name: "one broker", kind: broker, resource: "1", changes: []change{{Name: "log.retention.ms", Op: set, Value: new("8")}}, want: protocol.InvalidRequest},
		{name: "another type", kind: 8, resource: "1", want: protocol.InvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			records := append(brokerRecords(1), topicRecords("orders", orders, on(1, []int32{1}, 1))...)
			before := metadata.ConfigResource{Type: metadata.TopicResource, Name: "orders"}
			r := testRound(image(t, append(records, metadata.ConfigRecord{Resource: before, Name: "retention.ms", Value: new("5")})...))
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: tt.kind, ResourceName: tt.resource, Configs: tt.changes}}
			if got := r.incrementalAlterConfigs(req).Resources[0]; code(got.ErrorCode) != tt.want {
				t.Fatalf("got %v, want %v", code(got.ErrorCode), tt.want)
			}
			if tt.want != protocol.None {
				wantRecords(t, r)
				return
			}
			if d := cmp.Diff(tt.config, r.delta.Config(resourceOf(tt.kind, tt.resource))); d != "" {
				t.Errorf("config (-want +got):\n%s", d)
			}
		})
	}
	t.Run("the older form replaces all", func(t *testing.T) {
		records := append(brokerRecords(1), topicRecords("orders", orders, on(1, []int32{1}, 1))...)
		resource := metadata.ConfigResource{Type: metadata.TopicResource, Name: "orders"}
		r := testRound(image(t, append(records, metadata.ConfigRecord{Resource: resource, Name: "retention.ms", Value: new("5")})...))
		req := kmsg.NewPtrAlterConfigsRequest()
		one := kmsg.AlterConfigsRequestResource{ResourceType: topic, ResourceName: "orders", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "segment.ms", Value: new("9")}}}
		req.Resources = []kmsg.AlterConfigsRequestResource{one, one}
		resp := r.alterConfigs(req)
		if code(resp.Resources[0].ErrorCode) != protocol.None || code(resp.Resources[1].ErrorCode) != protocol.InvalidRequest {
			t.Errorf("%+v", resp.Resources)
		}
		if d := cmp.Diff(map[string]string{"segment.ms": "9"}, r.delta.Config(resource)); d != "" {
			t.Errorf("config (-want +got):\n%s", d)
		}
	})
}
