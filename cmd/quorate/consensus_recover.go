package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
)

// recovery is one run of `consensus recover`.
type recovery struct {
	offline
	out       output
	survivors []string
	archive   string
	dryRun    bool
	yes, sure bool
}

// sureFlag is the second question's answer, for scripts.
const sureFlag = "i-understand-that-data-may-be-lost"

func newConsensusRecover() *cobra.Command {
	r := &recovery{}
	cmd := &cobra.Command{
		Use:   "recover --config FILE",
		Short: "Make a cluster whose majority is lost for ever work again, from a stopped survivor",
		Long: `Make a cluster whose majority is lost for ever work again, from a stopped survivor.

This is the last resort: as long as a majority of the nodes can be brought back with
its disks, do that instead. Stop the nodes that are left, then run this on one of
them. It reads the metadata log on its disk, and in the data directories of other
survivors if they are given, takes the one that is the furthest, tells what may be
lost, and asks twice. Then it begins a new log with the same metadata, in which this
node is the only voter: topics keep their ids, partitions their epochs, records their
offsets, groups their positions. The former log is kept beside it.

The new log belongs to a new incarnation of the cluster. Nodes that come back with
what they had before are refused; let them come back with empty data directories.`,
		Example: `  quorate consensus recover --config node3.yaml --dry-run
  quorate consensus recover --config node3.yaml --survivor /mnt/node4/data`,
		Args: cobra.NoArgs,
	}
	r.out.register(cmd)
	cmd.Flags().StringVarP(&r.config, "config", "c", "", "the survivor's config `file`")
	cmd.Flags().StringSliceVar(&r.survivors, "survivor", nil, "the data `directory` of another stopped survivor, or a copy of it")
	cmd.Flags().StringVar(&r.archive, "archive", "", "take the metadata from this `file` that snapshot save wrote, not from any node's disk: if the survivor's metadata log is damaged")
	cmd.Flags().BoolVar(&r.dryRun, "dry-run", false, "only tell what would be recovered, and what may be lost")
	cmd.Flags().BoolVar(&r.yes, "yes", false, "do not ask; needs --"+sureFlag+" as well")
	cmd.Flags().BoolVar(&r.sure, sureFlag, false, "what --yes needs as well")
	cmd.Flags().DurationVar(&r.timeout, "timeout", 2*time.Minute, "how long the new log may take")
	configs.AddFlags(cmd.Flags())
	must(cmd.MarkFlagRequired("config"))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := notTogether(cmd, "archive", "survivor"); err != nil {
			return err
		}
		if r.yes != r.sure {
			return usagef("--yes and --%s go together", sureFlag)
		}
		cfg, err := loadConfig(configs.Source{Path: r.config, Env: settingsEnvironment(), Flags: cmd.Flags()}, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return r.run(cmd, cfg)
	}
	return cmd
}

func (r *recovery) run(cmd *cobra.Command, cfg configs.Config) error {
	if cfg.Log.Level == "info" {
		cfg.Log.Level = "warn" // there is enough to read
	}
	log, err := newLogger(cfg.Log, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	salvager, err := salvagerOf(cfg)
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	dir, finished, err := core.OpenForRecovery(cfg.Node.DataDir, identity(cfg))
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	defer dir.Close()
	if finished != "" {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "the recovery that was interrupted is complete now\n%s", afterwards(cfg, finished))
		return err
	}
	found, err := r.find(salvager, cfg, dir.LogDir())
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	best := furthest(found)
	report := newRecoveryReport(cfg, found, best)
	report.Archive = r.archive
	strays, err := replica.Strays(cfg.Node.DataDir, cfg.Node.ID, best.image)
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	report.Unknown = strayNames(strays)
	if err := r.tell(cmd, report); err != nil || r.dryRun {
		return err
	}
	if !r.yes {
		if err := report.ask(cmd.InOrStdin(), cmd.ErrOrStderr()); err != nil {
			return err
		}
	}
	return r.recover(cmd.Context(), cfg, dir, best.image, log, cmd.OutOrStdout())
}

// find reads what is left of the metadata log.
func (r *recovery) find(s consensus.Salvager, cfg configs.Config, log string) ([]survivor, error) {
	if r.archive == "" {
		return salvageAll(s, cfg, log, r.survivors)
	}
	archived, err := salvageArchive(cfg, r.archive)
	return []survivor{archived}, err
}

func (r *recovery) tell(cmd *cobra.Command, report recoveryReport) error {
	if r.out.format != "table" {
		return r.out.print(cmd.OutOrStdout(), report, nil, nil)
	}
	return report.print(cmd.OutOrStdout())
}

// recover makes the new log, and then puts it into the place of the old one.
func (r *recovery) recover(ctx context.Context, cfg configs.Config, dir *core.Recovery, img *metadata.Image, log *slog.Logger, stdout io.Writer) error {
	incarnation, err := newIncarnation()
	if err != nil {
		return err
	}
	spec, err := hostSpec(cfg)
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	if spec.Start.DataDir, err = dir.NewLogDir(); err != nil {
		return err
	}
	spec.Start.ClusterID = consensus.ClusterIncarnation(cfg.Cluster.ID, incarnation)
	group := &spec.Groups[0]
	group.Mode = consensus.OpenBootstrap
	group.Members = []consensus.Member{{
		ReplicaID: spec.Start.ReplicaID, BrokerID: cfg.Node.ID, Address: cfg.Consensus.Peer.Advertise, Role: consensus.Voter,
	}}
	err = r.runSpec(ctx, spec, log, func(ctx context.Context, client consensus.Client) error {
		return metadata.Import(ctx, client, consensus.Metadata, img, log)
	})
	if err != nil {
		return fmt.Errorf("make the new log: %w; nothing was changed", err)
	}
	kept, err := dir.Complete(incarnation)
	if err != nil {
		return fmt.Errorf("put the new log into its place: %w; run this again to finish", err)
	}
	_, err = fmt.Fprintf(stdout, "\nrecovered: %s\nthe former log is kept in %s\n%s", inventory(img), kept, afterwards(cfg, incarnation))
	return err
}

// newIncarnation names the time after a recovery.
func newIncarnation() (string, error) {
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return hex.EncodeToString(b[:]), nil
}

// afterwards is what is left to do.
func afterwards(cfg configs.Config, incarnation string) string {
	return fmt.Sprintf(`this is incarnation %s of cluster %s now. Start node %d. Nodes that are to join it
need an empty data directory, and in their config file:

  consensus:
    incarnation: %q
`, incarnation, cfg.Cluster.ID, cfg.Node.ID, incarnation)
}

// ask asks the two questions. The error is that the answers are not yes.
func (r recoveryReport) ask(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for _, q := range []struct{ question, want string }{
		{fmt.Sprintf("Is a majority of the nodes lost for ever, and will %s never be started again with their old data? Type yes: ", r.others()), "yes"},
		{"To recover from this node, losing what is told above, type the cluster's id: ", r.Cluster},
	} {
		fmt.Fprint(out, q.question)
		if !lines.Scan() {
			fmt.Fprintln(out)
			return errors.Join(usagef("nothing was changed: this command asks on a terminal; in scripts, say --yes --%s", sureFlag), lines.Err())
		}
		if got := strings.TrimSpace(lines.Text()); got != q.want {
			return fmt.Errorf("nothing was changed: the answer was %q, not %q", got, q.want)
		}
	}
	return nil
}
