package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// everywhereLimit bounds how long a command waits for brokers to show what it did.
	everywhereLimit = 5 * time.Second
	everywherePoll  = 10 * time.Millisecond
)

// topicIDs are topics by name, as the controller answered for them.
type topicIDs map[string]kadm.TopicID

// shownEverywhere waits until every live broker shows the topics, or, if there is
// false, none does: the controller answers once it knows, the others learn of it a
// moment later, and the next command may ask any of them. Brokers that take too long
// are named to w; it is no error, for the change is made.
func shownEverywhere(ctx context.Context, client *kgo.Client, w io.Writer, topics topicIDs, there bool) error {
	if len(topics) == 0 {
		return nil
	}
	brokers, err := kadm.NewClient(client).ListBrokers(ctx)
	if err != nil {
		return explain(err, "")
	}
	ctx, cancel := context.WithTimeout(ctx, everywhereLimit)
	defer cancel()
	late := make([]bool, len(brokers))
	var asked sync.WaitGroup
	for i, b := range brokers {
		asked.Go(func() { late[i] = !shownAt(ctx, client.Broker(int(b.NodeID)), topics, there) })
	}
	asked.Wait()
	for i, b := range brokers {
		if !late[i] {
			continue
		}
		if _, err := fmt.Fprintf(w, "broker %d does not show it yet\n", b.NodeID); err != nil {
			return err
		}
	}
	return nil
}

// shownAt asks one broker until it shows the topics, or none of them; false if ctx
// ended before. A broker that cannot be asked may come back.
func shownAt(ctx context.Context, broker *kgo.Broker, topics topicIDs, there bool) bool {
	tick := time.NewTicker(everywherePoll)
	defer tick.Stop()
	for {
		resp, err := metadataOf(topics).RequestWith(ctx, broker)
		if err == nil && shown(resp, topics, there) {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// metadataOf asks for topics, and creates none of them.
func metadataOf(topics topicIDs) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	for name := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &name
		req.Topics = append(req.Topics, t)
	}
	return req
}

// shown tells if a broker's answer has all of the topics, or, if there is false, none:
// another topic of the same name is not the one.
func shown(resp *kmsg.MetadataResponse, topics topicIDs, there bool) bool {
	return !slices.ContainsFunc(resp.Topics, func(t kmsg.MetadataResponseTopic) bool {
		has := t.Topic != nil && t.ErrorCode == 0 && topics[*t.Topic] == kadm.TopicID(t.TopicID)
		return has != there
	})
}
