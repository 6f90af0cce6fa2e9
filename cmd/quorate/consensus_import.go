package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/metadata"
)

func newConsensusImport() *cobra.Command {
	o := &offline{}
	var file string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "import --config FILE --file EXPORT",
		Short: "Move a stopped node to the backend in its config file, with an export's metadata",
		Long: `Move a stopped node to the backend in its config file, with an export's metadata.

Set consensus/backend in the config file of every node to the new backend. Then
run this on all of them at the same time, each with the same export: it starts the
new backends without the brokers, and the one that leads writes the metadata into
the new log. Topics keep their ids, partitions their epochs, records their offsets.
The former backend's log is left where it is.

A node removes the partitions on its disk that the metadata does not give to it, when it
starts. So an export is refused that does not know a partition on this node's disk, such
as one that is older than the topic.`,
		Args: cobra.NoArgs,
	}
	o.register(cmd)
	cmd.Flags().StringVarP(&file, "file", "f", "", "the export")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be imported")
	must(cmd.MarkFlagRequired("file"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadConfig(configs.Source{Path: o.config, Env: settingsEnvironment(), Flags: cmd.Flags()}, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		img, content, err := readExport(file)
		if err != nil {
			return &exitError{consensus.ExitConfig, err}
		}
		if img.ClusterID != cfg.Cluster.ID {
			return &exitError{consensus.ExitConfig, fmt.Errorf("%s is of cluster %q, but cluster/id is %q", file, img.ClusterID, cfg.Cluster.ID)}
		}
		if err := refuseStrays(cfg, file, img); err != nil {
			return &exitError{consensus.ExitConfig, err}
		}
		if dryRun {
			return wouldImport(cmd.OutOrStdout(), cfg, img)
		}
		return o.importInto(cmd.Context(), cfg, img, content, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	return cmd
}

func (o *offline) importInto(ctx context.Context, cfg configs.Config, img *metadata.Image, content []byte, stdout, stderr io.Writer) error {
	log, err := newLogger(cfg.Log, stderr)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	had, err := core.CheckImport(cfg.Node.DataDir, identity(cfg))
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	dir, err := core.OpenForImport(cfg.Node.DataDir, identity(cfg), hex.EncodeToString(sum[:]))
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	defer dir.Close()
	spec, err := hostSpec(cfg)
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	for i := range spec.Groups[0].Members { // nodes keep their replicas' ids
		m := &spec.Groups[0].Members[i]
		if b, ok := img.Broker(m.BrokerID); ok && b.Replica != 0 {
			m.ReplicaID = b.Replica
		}
	}
	return o.runSpec(ctx, spec, log, func(ctx context.Context, client consensus.Client) error {
		err := metadata.Import(ctx, client, consensus.Metadata, img, log)
		if errors.Is(err, metadata.ErrNotEmpty) {
			return &exitError{consensus.ExitConfig, fmt.Errorf("an earlier import of this export broke off in the middle: remove consensus/%s and consensus/%s.import in the data directory of every node, and import again", cfg.Consensus.Backend, cfg.Consensus.Backend)}
		}
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		if err := dir.Adopt(identity(cfg)); err != nil {
			return err
		}
		if had == cfg.Consensus.Backend {
			fmt.Fprintf(stdout, "%s had it already: %s\n", had, inventory(img))
			return nil
		}
		fmt.Fprintf(stdout, "imported into %s: %s\n", cfg.Consensus.Backend, inventory(img))
		return nil
	})
}
