package controller

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// setting is one change of a configuration, whichever request asks for it.
type setting struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

// incrementalAlterConfigs answers IncrementalAlterConfigs (key 44, KIP-339): one
// result per resource, in order; a resource changes whole or not at all.
func (r *round) incrementalAlterConfigs(req *kmsg.IncrementalAlterConfigsRequest) *kmsg.IncrementalAlterConfigsResponse {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	seen := map[metadata.ConfigResource]bool{}
	for _, res := range req.Resources {
		var changes []setting
		for _, c := range res.Configs {
			changes = append(changes, setting{c.Name, c.Op, c.Value})
		}
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = res.ResourceType, res.ResourceName
		err := r.alterConfig(resourceOf(res.ResourceType, res.ResourceName), changes, seen, req.ValidateOnly)
		out.ErrorCode, out.ErrorMessage = result(err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// alterConfigs answers AlterConfigs (key 33), the older form: what it does not
// name goes back to its default.
func (r *round) alterConfigs(req *kmsg.AlterConfigsRequest) *kmsg.AlterConfigsResponse {
	resp := kmsg.NewPtrAlterConfigsResponse()
	seen := map[metadata.ConfigResource]bool{}
	for _, res := range req.Resources {
		resource := resourceOf(res.ResourceType, res.ResourceName)
		var changes []setting
		named := map[string]bool{}
		for _, c := range res.Configs {
			changes, named[c.Name] = append(changes, setting{c.Name, kmsg.IncrementalAlterConfigOpSet, c.Value}), true
		}
		for _, name := range slices.Sorted(maps.Keys(r.delta.Config(resource))) {
			if !named[name] {
				changes = append(changes, setting{name: name, op: kmsg.IncrementalAlterConfigOpDelete})
			}
		}
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = res.ResourceType, res.ResourceName
		out.ErrorCode, out.ErrorMessage = result(r.alterConfig(resource, changes, seen, req.ValidateOnly))
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

func resourceOf(kind kmsg.ConfigResourceType, name string) metadata.ConfigResource {
	return metadata.ConfigResource{Type: metadata.ResourceType(kind), Name: name}
}

// alterConfig changes the configuration of one resource.
func (r *round) alterConfig(resource metadata.ConfigResource, changes []setting, seen map[metadata.ConfigResource]bool, validateOnly bool) error {
	if seen[resource] {
		return protocol.Errorf(protocol.InvalidRequest, "Each resource must appear at most once.")
	}
	seen[resource] = true
	lookup, err := r.settingsOf(resource)
	if err != nil {
		return err
	}
	records, err := changeRecords(r.delta.Config(resource), resource, changes, lookup)
	if err != nil || validateOnly {
		return err
	}
	return r.commit(records...)
}

// settingsOf returns which settings a resource has. Topics have their own; all
// brokers together have those that topics inherit.
func (r *round) settingsOf(resource metadata.ConfigResource) (func(name string) (metadata.TopicConfigDef, bool), error) {
	switch resource.Type {
	case metadata.TopicResource:
		if _, ok := r.delta.Topic(resource.Name); !ok {
			return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "The topic '%s' does not exist.", resource.Name)
		}
		return metadata.TopicConfigByName, nil
	case metadata.BrokerResource:
		if resource.Name != "" {
			return nil, protocol.Errorf(protocol.InvalidRequest, "A single broker's configuration is in its file; only that of all brokers (an empty name) changes at run time.")
		}
		return metadata.TopicConfigBySynonym, nil
	default:
		return nil, protocol.Errorf(protocol.InvalidRequest, "Resources of type %d have no configuration.", resource.Type)
	}
}

// changeRecords returns the records of the changes; what stays as it is has none.
func changeRecords(now map[string]string, resource metadata.ConfigResource, changes []setting, lookup func(string) (metadata.TopicConfigDef, bool)) ([]metadata.Record, error) {
	var records []metadata.Record
	for n, c := range changes {
		if slices.ContainsFunc(changes[:n], func(o setting) bool { return o.name == c.name }) {
			return nil, protocol.Errorf(protocol.InvalidRequest, "Error due to duplicate config keys: %s", c.name)
		}
		def, ok := lookup(c.name)
		if !ok {
			return nil, protocol.Errorf(protocol.InvalidConfig, "Unknown config name: %s", c.name)
		}
		value, err := c.result(def, now)
		if err != nil {
			return nil, err
		}
		old, isSet := now[c.name]
		if isSet == (value != nil) && (value == nil || *value == old) {
			continue
		}
		records = append(records, metadata.ConfigRecord{Resource: resource, Name: c.name, Value: value})
	}
	return records, nil
}

// result returns the value that the change leads to; nil means the default.
func (c setting) result(def metadata.TopicConfigDef, now map[string]string) (*string, error) {
	if c.op == kmsg.IncrementalAlterConfigOpDelete {
		return nil, nil
	}
	if c.value == nil {
		return nil, protocol.Errorf(protocol.InvalidConfig, "Null value not supported for : %s", c.name)
	}
	value := *c.value
	if c.op == kmsg.IncrementalAlterConfigOpAppend || c.op == kmsg.IncrementalAlterConfigOpSubtract {
		if def.Type != metadata.ListConfig {
			return nil, protocol.Errorf(protocol.InvalidConfig, "Can't %s to key %s because its type is not LIST.", c.op, c.name)
		}
		current, ok := now[c.name]
		if !ok {
			current = def.Default
		}
		value = editList(current, value, c.op == kmsg.IncrementalAlterConfigOpAppend)
	}
	if err := def.Check(value); err != nil {
		return nil, protocol.Errorf(protocol.InvalidConfig, "%v", err)
	}
	return &value, nil
}

// editList adds words to a list, or removes them.
func editList(list, words string, add bool) string {
	edit := strings.Split(words, ",")
	out := slices.DeleteFunc(strings.Split(list, ","), func(w string) bool { return slices.Contains(edit, w) })
	if add {
		out = append(out, edit...)
	}
	return strings.Join(out, ",")
}
