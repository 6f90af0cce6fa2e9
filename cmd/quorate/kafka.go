package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// defaultBootstrap is where `quorate serve --dev` listens.
const defaultBootstrap = "127.0.0.1:9092"

// connection is the flags of every command that talks to a cluster.
type connection struct {
	bootstrap []string
	timeout   time.Duration
}

// bootstrapVariable is the environment variable of --bootstrap.
const bootstrapVariable = "QUORATE_BOOTSTRAP"

// settingsEnvironment is the environment without the variables that are not
// settings of a node: a shell that has them may start one too.
func settingsEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, bootstrapVariable+"=") })
}

func (c *connection) register(cmd *cobra.Command) {
	servers := strings.Split(envOr(bootstrapVariable, defaultBootstrap), ",")
	cmd.PersistentFlags().StringSliceVarP(&c.bootstrap, "bootstrap", "b", servers, "addresses of one or more brokers (environment: "+bootstrapVariable+")")
	cmd.PersistentFlags().DurationVar(&c.timeout, "timeout", 30*time.Second, "how long to wait for the cluster")
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}

// client connects; opts are added to those of every command.
func (c *connection) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(c.bootstrap...),
		kgo.ClientID("quorate-cli"),
		kgo.SoftwareNameAndVersion("quorate", strings.Trim(versionString(), "()")),
		kgo.RetryTimeout(c.timeout),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)...)
}

// admin runs f with an admin client and the command's time limit.
func (c *connection) admin(cmd *cobra.Command, f func(ctx context.Context, adm *kadm.Client) error) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), c.timeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return c.unreachable(err)
	}
	return f(ctx, kadm.NewClient(client))
}

// unreachable says where nobody answered, and what to look at.
func (c *connection) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("no broker answers at %s: %w; is it running, and is --bootstrap right?", strings.Join(c.bootstrap, ", "), err)
}

// explain adds the broker's own sentence to an error code.
func explain(what string, err error, message string) error {
	if message == "" || message == err.Error() {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %s", what, err, message)
}
