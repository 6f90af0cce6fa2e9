package api

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/protocol"
)

// describeConfigs answers DescribeConfigs (key 32), v1 to v4, for topics and
// brokers: every setting with its value, where that comes from, and what else it
// could come from.
func (a *API) describeConfigs(_ context.Context, _ *Session, req *kmsg.DescribeConfigsRequest) (*kmsg.DescribeConfigsResponse, error) {
	img := a.images.Current()
	resp := kmsg.NewPtrDescribeConfigsResponse()
	for _, r := range req.Resources {
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		configs, err := a.configsOf(img, &r)
		out.ErrorCode, out.ErrorMessage = a.verdict("describe configs", err)
		for _, c := range configs {
			if r.ConfigNames == nil || slices.Contains(r.ConfigNames, c.Name) {
				out.Configs = append(out.Configs, asked(c, req))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}

// asked leaves out what the request did not ask for.
func asked(c kmsg.DescribeConfigsResponseResourceConfig, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	if !req.IncludeSynonyms {
		c.ConfigSynonyms = nil
	}
	if !req.IncludeDocumentation {
		c.Documentation = nil
	}
	return c
}

func (a *API) configsOf(img *metadata.Image, r *kmsg.DescribeConfigsRequestResource) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
	switch r.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if _, ok := img.Topic(r.ResourceName); !ok {
			return nil, protocol.Errorf(protocol.UnknownTopicOrPartition, "no topic %q", r.ResourceName)
		}
		return topicConfigs(img.TopicConfig(r.ResourceName, a.cfg.Defaults)), nil
	case kmsg.ConfigResourceTypeBroker:
		return a.brokerConfigs(img, r.ResourceName)
	default:
		return nil, protocol.Errorf(protocol.InvalidRequest, "resource type %d has no configuration here; topics (2) and brokers (4) have", r.ResourceType)
	}
}

func topicConfigs(values metadata.TopicConfig) []kmsg.DescribeConfigsResponseResourceConfig {
	var out []kmsg.DescribeConfigsResponseResourceConfig
	for _, def := range metadata.TopicConfigs {
		c := kmsg.NewDescribeConfigsResponseResourceConfig()
		value, source, _ := values.Value(def.Name)
		c.Name, c.Value = def.Name, &value
		c.Source = kmsg.ConfigSource(source)
		c.IsDefault = source != metadata.SourceTopic
		c.ConfigType = kmsg.ConfigType(def.Type)
		c.Documentation = new(def.Doc)
		for _, s := range values.Synonyms(def.Name) {
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: s.Name, Value: new(s.Value), Source: kmsg.ConfigSource(s.Source),
			})
		}
		out = append(out, c)
	}
	return out
}

// brokerConfigs lists what this broker was started with, and, for the empty name,
// what was set for all brokers at run time. Another broker knows its own.
func (a *API) brokerConfigs(img *metadata.Image, name string) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
	dynamic := img.Config(metadata.ConfigResource{Type: metadata.BrokerResource})
	var out []kmsg.DescribeConfigsResponseResourceConfig
	if name != "" {
		if id, err := strconv.Atoi(name); err != nil || int32(id) != a.cfg.BrokerID {
			return nil, protocol.Errorf(protocol.InvalidRequest, "this is broker %d; ask broker %s for its own configuration", a.cfg.BrokerID, name)
		}
		for _, key := range slices.Sorted(maps.Keys(a.cfg.Defaults)) {
			if _, overridden := dynamic[key]; !overridden {
				out = append(out, brokerConfig(key, a.cfg.Defaults[key], kmsg.ConfigSourceStaticBrokerConfig))
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(dynamic)) {
		out = append(out, brokerConfig(key, dynamic[key], kmsg.ConfigSourceDynamicDefaultBrokerConfig))
	}
	return out, nil
}

func brokerConfig(name, value string, source kmsg.ConfigSource) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.Source = name, &value, source
	c.ReadOnly = source == kmsg.ConfigSourceStaticBrokerConfig
	c.ConfigType = kmsg.ConfigTypeString
	c.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{{Name: name, Value: &value, Source: source}}
	return c
}
