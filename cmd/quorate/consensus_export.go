package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/admin/archive"
	"github.com/quorate/quorate/core/metadata"
)

// offline is the flags of commands that run a stopped node's backend.
type offline struct {
	config  string
	timeout time.Duration
	linger  time.Duration
}

func (o *offline) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.config, "config", "c", "", "the node's config `file`")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait for a majority of the nodes")
	cmd.Flags().DurationVar(&o.linger, "linger", 5*time.Second, "how long to go on afterwards, so that the other nodes can finish")
	configs.AddFlags(cmd.Flags())
	must(cmd.MarkFlagRequired("config"))
}

// must is for mistakes in the code of a command.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// run launches the node's backend, alone, does f with it, and stays a little for
// the others' sake.
func (o *offline) run(ctx context.Context, cfg configs.Config, log *slog.Logger, f func(context.Context, consensus.Client) error) error {
	spec, err := hostSpec(cfg)
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	return o.runSpec(ctx, spec, log, f)
}

func (o *offline) runSpec(ctx context.Context, spec host.Spec, log *slog.Logger, f func(context.Context, consensus.Client) error) error {
	backend, err := host.Launch(ctx, spec, log)
	if err != nil {
		return withExitCode(err)
	}
	supervised, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- backend.Run(supervised) }()
	waiting, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	err = f(waiting, backend)
	if err == nil {
		o.stay(ctx)
	}
	stop()
	return errors.Join(err, withExitCode(<-ended))
}

func (o *offline) stay(ctx context.Context) {
	timer := time.NewTimer(o.linger)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func newConsensusExport() *cobra.Command {
	o := &offline{}
	var file string
	cmd := &cobra.Command{
		Use:   "export --config FILE --file EXPORT",
		Short: "Write a stopped cluster's metadata to a file, for another backend to import",
		Long: `Write a stopped cluster's metadata to a file, for another backend to import.

Stop every node first. Then run this on a majority of them at the same time: it
starts their backends without the brokers, waits until they agree on what is
committed, and writes it. The files are the same on every node.`,
		Args: cobra.NoArgs,
	}
	o.register(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "where to write the export")
	must(cmd.MarkFlagRequired("file"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(configs.Source{Path: o.config, Env: settingsEnvironment(), Flags: cmd.Flags()}, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		log, err := newLogger(cfg.Log, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		dir, err := core.OpenOwnDataDir(cfg.Node.DataDir, identity(cfg))
		if err != nil {
			return &exitError{consensus.ExitConfig, err}
		}
		defer dir.Close()
		return o.run(cmd.Context(), cfg, log, func(ctx context.Context, client consensus.Client) error {
			img, err := metadata.Export(ctx, client, consensus.Metadata, log)
			if err != nil {
				return fmt.Errorf("export: %w", err)
			}
			if err := writeExport(file, img); err != nil {
				return fmt.Errorf("export: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "exported to %s: %s\n", file, inventory(img))
			return nil
		})
	}
	return cmd
}

// writeExport makes the file appear whole, or not at all.
func writeExport(file string, img *metadata.Image) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(img.WriteSnapshot(f), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// inventory is what an image holds, in a line.
func inventory(img *metadata.Image) string {
	topics, partitions, brokers := 0, 0, 0
	for t := range img.Topics() {
		topics++
		partitions += len(t.Partitions)
	}
	for range img.Brokers() {
		brokers++
	}
	return fmt.Sprintf("cluster %s, %s with %s, %s, next producer id %d, next broker epoch %d",
		img.ClusterID, plural(topics, "topic"), plural(partitions, "partition"), plural(brokers, "broker"), img.NextProducerID, img.NextBrokerEpoch)
}

// readExport reads an export and checks that nothing of it would be lost: what
// was read, written again, is the same file.
func readExport(file string) (*metadata.Image, []byte, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	if strings.HasPrefix(string(content), archive.Magic) { // that snapshot save wrote
		r, err := archive.NewReader(bytes.NewReader(content))
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
		if content, err = io.ReadAll(r); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	img, err := metadata.ReadSnapshot(bytes.NewReader(content))
	if err != nil {
		return nil, nil, fmt.Errorf("%s is no export, or a damaged one: %w", file, err)
	}
	var again bytes.Buffer
	if err := img.WriteSnapshot(&again); err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(again.Bytes(), content) {
		return nil, nil, fmt.Errorf("%s holds something that this version would lose; import it with the version that exported it", file)
	}
	return img, content, nil
}
