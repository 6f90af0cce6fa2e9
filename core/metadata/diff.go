package metadata

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Difference is one thing that two images do not have alike.
type Difference struct {
	// Kind is topic, partition, config, broker, cluster, producer ids, or records for
	// what this version cannot name.
	Kind string `json:"kind"`
	Name string `json:"name"` // orders, orders-3, topic orders, 1
	// Field is what of it differs, as in a record: "leader epoch". Empty: all of it,
	// since one image has none.
	Field string `json:"field,omitempty"`
	// A and B are what the images have; nil is nothing.
	A *string `json:"a"`
	B *string `json:"b"`
}

// Diff returns in what two images differ, ordered by kind and name. It is empty
// exactly if SameRecords: where in their logs the images stand is not compared.
func Diff(a, b *Image) []Difference {
	left, right := describe(a), describe(b)
	names := maps.Clone(left)
	maps.Copy(names, right)
	order := func(a, b thing) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name), cmp.Compare(a.number, b.number))
	}
	var out []Difference
	for _, t := range slices.SortedFunc(maps.Keys(names), order) {
		out = append(out, t.compare(left[t], right[t])...)
	}
	if len(out) == 0 && !a.SameRecords(b) {
		out = append(out, Difference{
			Kind: "records", A: new(fmt.Sprint(len(a.Records()))), B: new(fmt.Sprint(len(b.Records()))),
			Field: "something that this version has no name for",
		})
	}
	return out
}

// thing is what has fields. Its rank orders kinds, its number the partitions of a topic.
type thing struct {
	rank   int
	name   string
	number int32
}

const (
	theCluster = iota
	aBroker
	aTopic
	aPartition
	aConfig
	producerIDs
)

var kinds = [...]string{"cluster", "broker", "topic", "partition", "config", "producer ids"}

// fields are a thing's, in the order in which they are shown.
type fields []field

type field struct{ name, value string }

func (f fields) value(name string) *string {
	for i := range f {
		if f[i].name == name {
			return &f[i].value
		}
	}
	return nil
}

func (f fields) String() string {
	words := make([]string, len(f))
	for i := range f {
		words[i] = f[i].name + " " + f[i].value
	}
	return strings.Join(words, ", ")
}

func (t thing) compare(a, b fields) (out []Difference) {
	d := Difference{Kind: kinds[t.rank], Name: t.name}
	if t.rank == aPartition {
		d.Name = fmt.Sprintf("%s-%d", t.name, t.number)
	}
	whole := t.rank != aConfig // settings are told one by one
	switch {
	case whole && a == nil:
		d.B = new(b.String())
		return []Difference{d}
	case whole && b == nil:
		d.A = new(a.String())
		return []Difference{d}
	}
	for _, f := range union(a, b) {
		d.Field, d.A, d.B = f, a.value(f), b.value(f)
		if d.A == nil || d.B == nil || *d.A != *d.B {
			out = append(out, d)
		}
	}
	return out
}

// union is the names of all fields, a's first.
func union(a, b fields) (names []string) {
	for _, f := range a {
		names = append(names, f.name)
	}
	for _, f := range b {
		if a.value(f.name) == nil {
			names = append(names, f.name)
		}
	}
	return names
}

// describe is an image as things with fields.
func describe(i *Image) map[thing]fields {
	out := map[thing]fields{
		{rank: theCluster}: {
			{"id", i.ClusterID}, {"next broker epoch", fmt.Sprint(i.NextBrokerEpoch)}, {"next replica id", fmt.Sprint(i.NextReplicaID)},
		},
		{rank: producerIDs}: {{"next", fmt.Sprint(i.NextProducerID)}},
	}
	for b := range i.Brokers() {
		out[thing{rank: aBroker, name: fmt.Sprint(b.ID)}] = fields{
			{"epoch", fmt.Sprint(b.Epoch)},
			{"incarnation", b.Incarnation.String()},
			{"replica", fmt.Sprint(b.Replica)},
			{"rack", b.Rack},
			{"listeners", endpoints(b.Listeners...)},
			{"cluster listener", endpoints(b.Cluster)},
			{"fenced", fmt.Sprint(b.Fenced)},
			{"in controlled shutdown", fmt.Sprint(b.InControlledShutdown)},
		}
	}
	for t := range i.Topics() {
		out[thing{rank: aTopic, name: t.Name}] = fields{{"id", t.ID.String()}, {"partitions", fmt.Sprint(len(t.Partitions))}}
		for n, p := range t.Partitions {
			out[thing{aPartition, t.Name, int32(n)}] = fields{
				{"replicas", fmt.Sprint(p.Replicas)},
				{"isr", fmt.Sprint(p.ISR)},
				{"leader", fmt.Sprint(p.Leader)},
				{"leader epoch", fmt.Sprint(p.LeaderEpoch)},
				{"partition epoch", fmt.Sprint(p.PartitionEpoch)},
				{"adding", fmt.Sprint(p.Adding)},
				{"removing", fmt.Sprint(p.Removing)},
			}
		}
	}
	for r, set := range i.configs {
		for _, name := range slices.Sorted(maps.Keys(set)) {
			t := thing{rank: aConfig, name: r.String()}
			out[t] = append(out[t], field{name, set[name]})
		}
	}
	return out
}

func endpoints(list ...Endpoint) string {
	words := make([]string, len(list))
	for i, e := range list {
		words[i] = fmt.Sprintf("%s=%s:%d/%s", e.Name, e.Host, e.Port, e.Security)
	}
	return strings.Join(words, " ")
}

// String returns the resource as people name it.
func (r ConfigResource) String() string {
	switch {
	case r.Type == TopicResource:
		return "topic " + r.Name
	case r.Type == BrokerResource && r.Name == "":
		return "all brokers"
	case r.Type == BrokerResource:
		return "broker " + r.Name
	default:
		return fmt.Sprintf("resource %d %s", r.Type, r.Name)
	}
}
