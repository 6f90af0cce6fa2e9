package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/quorate/quorate/cmd/quorate/certificates"
	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/wal"
)

func newServe() *cobra.Command {
	var path string
	var dev, unsafeTruncate bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Example: `  quorate serve --dev
  quorate serve --config configs/examples/cluster/1.yaml`,
		Args: arguments(0, 0),
	}
	cmd.Flags().StringVarP(&path, "config", "c", "", "the config file")
	cmd.Flags().BoolVar(&dev, "dev", false, "a single node on 127.0.0.1:9092 with its data under ./data; no config file needed")
	cmd.Flags().BoolVar(&unsafeTruncate, "unsafe-truncate", false, "end a damaged commit log at the damage, which may lose acknowledged records, instead of refusing to start")
	configs.AddFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := notTogether(cmd, "config", "dev"); err != nil {
			return err
		}
		if !dev && path == "" {
			return usagef("serve needs --config FILE, or --dev for a single node without one")
		}
		src := configs.Source{Path: path, Env: settingsEnvironment(), Flags: cmd.Flags(), Dev: dev}
		cfg, err := loadConfig(src, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		log, err := newLogger(cfg.Log, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		if err := check(cmd.Context(), cfg, path, cmd.ErrOrStderr()); err != nil {
			return err
		}
		return serve(cmd.Context(), cfg, log, unsafeTruncate, greeting(dev, cfg, cmd.OutOrStdout()))
	}
	return cmd
}

// loadConfig loads a configuration; what is wrong with it is printed as it is.
func loadConfig(src configs.Source, stderr io.Writer) (configs.Config, error) {
	cfg, err := configs.Load(src)
	if err == nil {
		return cfg, nil
	}
	if problems, ok := errors.AsType[*configs.Problems](err); ok {
		fmt.Fprintln(stderr, problems.Error())
		return cfg, &exitError{exitUsage, nil}
	}
	return cfg, err
}

// greeting is what a developer is told once a --dev node serves.
func greeting(dev bool, cfg configs.Config, w io.Writer) func() {
	if !dev {
		return func() {}
	}
	program := os.Args[0]
	return func() {
		addr, at := cfg.Listeners[0].Advertise, ""
		if addr != defaultBootstrap {
			at = " -b " + addr
		}
		fmt.Fprintf(w, "\nquorate serves on %s. In another terminal:\n\n  echo hello | %s produce quickstart%s\n  %s consume quickstart -o start -e%s\n\n",
			addr, program, at, program, at)
		fmt.Fprintf(w, "or, with kcat:\n\n\techo hello | kcat -P -b %s -t quickstart\n\tkcat -C -b %s -t quickstart -o beginning -e\n\n", addr, addr)
	}
}

// check looks for what would keep the node from running, before anything is
// started or written.
func check(ctx context.Context, cfg configs.Config, file string, stderr io.Writer) error {
	diagnostics, err := diagnoseBuiltIn(cfg)
	if err != nil {
		return err
	}
	if err := reportOptions(cfg, file, diagnostics, stderr); err != nil {
		return err
	}
	if err := core.CheckDataDir(cfg.Node.DataDir, identity(cfg)); err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	if cfg.Cluster.Join {
		if err := core.CheckJoin(cfg.Node.DataDir, identity(cfg)); err != nil {
			return &exitError{consensus.ExitConfig, err}
		}
	}
	return preflight(ctx, cfg)
}

func identity(cfg configs.Config) core.Identity {
	return core.Identity{ClusterID: cfg.Cluster.ID, NodeID: cfg.Node.ID, Backend: cfg.Consensus.Backend, Incarnation: cfg.Consensus.Incarnation}
}

// serve runs a node until ctx ends or it cannot go on. ready is called once it
// serves clients.
func serve(ctx context.Context, cfg configs.Config, log *slog.Logger, unsafeTruncate bool, ready func()) error {
	dir, err := core.OpenDataDir(cfg.Node.DataDir, identity(cfg))
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	defer dir.Close()
	certs := certificates.NewWatcher(certificates.Interval, log)
	coreConfig, err := brokerConfig(cfg, certs)
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	pluginCertificates, err := peerFiles(cfg.Consensus.Peer.TLS).Read()
	if err != nil {
		return &exitError{consensus.ExitConfig, fmt.Errorf("consensus/peer/tls: %w", err)}
	}
	log.Info("starting", "version", versionString(), "node", cfg.Node.ID, "cluster", cfg.Cluster.ID,
		"backend", cfg.Consensus.Backend, "data_dir", cfg.Node.DataDir)
	backend, err := launch(ctx, cfg, &coreConfig, dir, log)
	if ctx.Err() != nil && err != nil {
		return nil // stopped before it began
	}
	if err != nil {
		return withExitCode(err)
	}
	watchPluginTLS(cfg.Consensus.Peer.TLS, pluginCertificates, certs, backend)
	coreConfig.Replica.Commit.UnsafeTruncate = unsafeTruncate
	err = run(ctx, coreConfig, backend, certs, log, ready)
	if errors.Is(err, wal.ErrFailed) {
		return &exitError{consensus.ExitStorage, err} // the disk cannot be trusted, whoever noticed
	}
	if core.Outcast(err) {
		return &exitError{consensus.ExitConfig, err}
	}
	if err != nil {
		return withExitCode(err)
	}
	log.Info("stopped")
	return nil
}

// run runs a broker on a backend that was launched, and stops the backend after
// the broker: the broker's last act is to hand over.
func run(ctx context.Context, cfg core.Config, backend *host.Host, certs *certificates.Watcher, log *slog.Logger, ready func()) error {
	supervised, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	serving := make(chan struct{})
	g, failed := errgroup.WithContext(ctx)
	g.Go(func() error { return backend.Run(supervised) })
	g.Go(func() error { return certs.Run(supervised) })
	g.Go(func() error {
		defer release()
		b, err := core.New(cfg, backend, log)
		if err != nil {
			return err
		}
		if err := b.Listen(); err != nil {
			return &exitError{exitFailure, err}
		}
		return b.Run(failed, func() {
			close(serving)
			if ready != nil {
				ready()
			}
		})
	})
	g.Go(func() error {
		select {
		case <-serving:
			debug.FreeOSMemory() // a start reads what is never needed again: half of a large node's heap
		case <-failed.Done():
		}
		return nil
	})
	return g.Wait()
}

// withExitCode gives an error of the backend the exit code that it asks for.
func withExitCode(err error) error {
	if e, ok := errors.AsType[*host.ExitError](err); ok {
		return &exitError{e.Code, errors.New(e.Reason + replaceAdvice(err))}
	}
	if e, ok := errors.AsType[*host.FailedError](err); ok {
		return &exitError{e.ExitCode, errors.New(e.Reason + replaceAdvice(err))}
	}
	if advice := replaceAdvice(err); advice != "" {
		return fmt.Errorf("%w%s", err, advice)
	}
	return err
}

// replaceAdvice is the way out if what the metadata log is kept in may be damaged: the
// backend says which file it is, and only the other nodes have what was in it.
func replaceAdvice(err error) string {
	for _, damaged := range []error{consensus.ErrStorageFailed, consensus.ErrSnapshotInvalid, consensus.ErrDataIncompatible} {
		if errors.Is(err, damaged) {
			return "; if a file is damaged and a majority of the nodes is alive, start with an empty data directory and cluster/join: true, else see quorate consensus recover"
		}
	}
	return ""
}
