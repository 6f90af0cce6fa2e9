package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/quorate/quorate/consensus/sdk/faults"
)

// defaultBootstrap is where `quorate serve --dev` listens.
const defaultBootstrap = "127.0.0.1:9092"

// connection is the flags of every command that talks to a cluster.
type connection struct {
	bootstrap []string
	timeout   time.Duration
	tls       tlsFlags
}

// bootstrapVariable is the environment variable of --bootstrap.
const bootstrapVariable = "QUORATE_BOOTSTRAP"

// settingsEnvironment is the environment without the variables that are not
// settings of a node: a shell that has them may start one too.
func settingsEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{
			bootstrapVariable, adminVariable, tlsVariable, tlsCAVariable, tlsCertVariable, tlsKeyVariable, tlsServerNameVariable,
			faults.DirKey, // the plugin's
		}, name)
	})
}

func (c *connection) register(cmd *cobra.Command) {
	servers := strings.Split(envOr(bootstrapVariable, defaultBootstrap), ",")
	cmd.PersistentFlags().StringSliceVarP(&c.bootstrap, "bootstrap", "b", servers, "`addresses` of one or more brokers (environment: "+bootstrapVariable+")")
	cmd.PersistentFlags().DurationVar(&c.timeout, "timeout", 30*time.Second, "how long to wait for the cluster")
	c.tls.register(cmd)
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// client makes a client; opts are added to those of every command. Nothing is
// dialed yet.
func (c *connection) client(opts ...kgo.Opt) (*kgo.Client, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	secure, err := c.tls.config()
	if err != nil {
		return nil, err
	}
	if secure != nil {
		opts = append(opts, kgo.DialTLSConfig(secure))
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.bootstrap...),
		kgo.ClientID("quorate-cli"),
		kgo.SoftwareNameAndVersion("quorate", strings.Trim(versionString(), "()")),
		kgo.DialTimeout(min(c.timeout, 10*time.Second)),
		kgo.RequestTimeoutOverhead(min(max(c.timeout, time.Second), 10*time.Second)),
		kgo.RetryTimeout(c.timeout),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		return nil, usagef("--bootstrap %s: %w", strings.Join(c.bootstrap, ","), err)
	}
	return client, nil
}

// check reports flags that make no sense. An address may go without a port.
func (c *connection) check() error {
	if c.timeout <= 0 {
		return usagef("--timeout is %v, which is not a time to wait", c.timeout)
	}
	for _, addr := range c.bootstrap {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			continue // without a port; the client library has the last word
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return usagef("--bootstrap %s has no port between 1 and 65535 (example: %s)", addr, defaultBootstrap)
		}
	}
	return nil
}

// admin runs f with an admin client and the command's time limit.
func (c *connection) admin(cmd *cobra.Command, f func(ctx context.Context, adm *kadm.Client) error) error {
	return c.ask(cmd.Context(), f)
}

func (c *connection) ask(ctx context.Context, f func(ctx context.Context, adm *kadm.Client) error) error {
	return c.talk(ctx, func(ctx context.Context, client *kgo.Client) error { return f(ctx, kadm.NewClient(client)) })
}

// talk runs f with a client of a cluster that answers, and the command's time limit.
func (c *connection) talk(ctx context.Context, f func(ctx context.Context, client *kgo.Client) error) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return c.unreachable(err)
	}
	err = f(ctx, client)
	if errors.Is(err, context.DeadlineExceeded) {
		return &explainedError{fmt.Sprintf("the cluster at %s did not answer within %v", strings.Join(c.bootstrap, ", "), c.timeout), err}
	}
	return err
}

// unreachable says where nobody answered, and what to look at.
func (c *connection) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if why := tlsReason(err); why != "" {
		return &explainedError{fmt.Sprintf("no way to talk to %s: %s", strings.Join(c.bootstrap, ", "), why), err}
	}
	return &explainedError{fmt.Sprintf("no broker answers at %s: %s; is it running, and is --bootstrap right?", strings.Join(c.bootstrap, ", "), reason(err)), err}
}

// partitionsOf asks for topics that must exist.
func partitionsOf(ctx context.Context, adm *kadm.Client, topics ...string) (kadm.TopicDetails, error) {
	details, err := adm.ListTopicsWithInternal(ctx, topics...)
	if err != nil {
		return nil, explain(err, "")
	}
	for _, name := range topics {
		switch err := details[name].Err; {
		case !details.Has(name):
			return nil, noSuchTopic(name)
		case err != nil:
			return nil, fmt.Errorf("topic %s: %w", name, explain(err, ""))
		}
	}
	return details, nil
}

// topicID is a topic's id as Kafka's tools print it.
func topicID(id kadm.TopicID) string { return base64.RawURLEncoding.EncodeToString(id[:]) }
