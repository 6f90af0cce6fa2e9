package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/cmd/quorate/scratch"
	"github.com/quorate/quorate/consensus/consensustest/kit"
	"github.com/quorate/quorate/consensus/host"
)

// verification is what `plugin verify` is asked for.
type verification struct {
	options     kit.Options
	sha256      string
	settings    string
	output      string
	certificate string
	previous    string
	verbose     bool
}

func newPluginVerify() *cobra.Command {
	v := verification{}
	cmd := &cobra.Command{
		Use:   "verify PATH|NAME [-- ARG...]",
		Short: "Judge a consensus backend by the rules of the contract",
		Long: `Judge a consensus backend by the rules of the contract.

NAME is a built-in backend, PATH the executable of another one. The real program
is run, in one to three processes on 127.0.0.1, and killed, frozen and cut off
while it works. The exit code is 0 only if every case passed.

A case that cannot be run here says why. Some need the storage to be spoilt, which
a plugin that is made with the SDK allows; one needs root, to mount a file system
that can be filled up; upgrades need --previous, an earlier version.

Levels: 1 a single replica, 2 three replicas and crashes, 3 partitions, frozen
processes and linearizability, 4 all of it for long.`,
		Example: "  quorate plugin verify etcd-raft --level 3 --quick\n" +
			"  quorate plugin verify ./my-raft --level 2 --sha256 ab12... --certificate .",
		Args: arguments(1, -1),
		RunE: v.run,
	}
	f := cmd.Flags()
	f.IntVar(&v.options.Level, "level", 2, "how far to go, 1 to 4")
	f.Uint64Var(&v.options.Seed, "seed", 0, "repeat the random choices of an earlier run (0: any)")
	f.BoolVar(&v.options.Quick, "quick", false, "the short form of every case, for CI")
	f.StringVar(&v.options.Skip, "skip", "", "leave out the cases with this `text` in their number or name: deviations that are known")
	f.StringVar(&v.options.Only, "only", "", "run only the cases with this `text` in their number or name")
	f.IntVar(&v.options.Parallel, "parallel", 1, "`how many` cases run at the same time; those that measure run alone")
	f.DurationVar(&v.options.Soak, "soak", 30*time.Minute, "how long level 4 mixes all faults")
	f.StringVar(&v.previous, "previous", "", "an earlier version of the plugin, a `path`: upgrades from it are judged too")
	f.StringVar(&v.settings, "options", "", "the backend's own settings, as `JSON`")
	f.StringVar(&v.sha256, "sha256", "", "what the executable's SHA-256 must be")
	f.StringVar(&v.certificate, "certificate", "", "write a certificate to this `file` if everything passed, or into this directory, under the name that is looked for")
	f.StringVarP(&v.output, "output", "o", "table", "`format`: table, json, junit or html")
	f.BoolVarP(&v.verbose, "verbose", "v", false, "show what the plugins log")
	return cmd
}

// errNotConformant ends the command after the report has said everything.
var errNotConformant = errors.New("the backend breaks rules of the contract")

func (v *verification) run(cmd *cobra.Command, args []string) (err error) {
	if err := oneOf("output", v.output, "table", "json", "junit", "html"); err != nil {
		return err
	}
	if v.options.Level < 1 || v.options.Level > 4 {
		return usagef("--level is %d, which is not 1 to 4", v.options.Level)
	}
	for v.options.Seed == 0 {
		v.options.Seed = uint64(rand.Uint32())
	}
	if v.settings != "" {
		v.options.Backend = []byte(v.settings)
	}
	folder, err := scratch.New("quorate-verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Remove()) }()
	front, path, err := v.front(args, folder)
	if err != nil {
		return err
	}
	sum, err := sumOf(path)
	if err == nil && v.sha256 != "" && !strings.EqualFold(sum, v.sha256) {
		err = fmt.Errorf("the SHA-256 of %s is %s, not %s", path, sum, v.sha256)
	}
	if err != nil {
		return err
	}
	if v.previous != "" {
		if v.options.Previous, err = v.earlier(front); err != nil {
			return err
		}
	}
	v.options.Dir = folder.Dir
	return v.judge(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), front, judged{path, sum})
}

// judged is the executable that is judged.
type judged struct{ path, sha256 string }

// earlier is front with the executable of --previous.
func (v *verification) earlier(front kit.Binary) (kit.Front, error) {
	path, err := filepath.Abs(v.previous)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, usagef("--previous: %v", err)
	}
	if front.Plugin.Name == host.External {
		front.Plugin.Path, front.Plugin.SHA256 = path, ""
	} else {
		front.Executable = path
	}
	return front, nil
}

// front returns how the backend is run, and its executable.
func (v *verification) front(args []string, folder *scratch.Folder) (kit.Binary, string, error) {
	log := slog.New(slog.DiscardHandler)
	if v.verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	mark, value := folder.Mark()
	ours := map[string]string{mark: value}
	front := kit.Binary{ScratchDir: filepath.Join(folder.Dir, "run"), Log: log}
	path := args[0]
	if _, builtIn := backends[path]; builtIn {
		self, err := os.Executable()
		if err != nil {
			return front, "", err
		}
		front.Plugin, path = host.Spec{Name: path, Env: ours}, self
	} else {
		if !strings.ContainsRune(path, filepath.Separator) {
			return front, "", usagef("there is no built-in backend %q; there are %s, and an executable is named by its path, ./%s",
				path, strings.Join(backendNames(), ", "), path)
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return front, "", err
		}
		path = abs
		front.Plugin = host.Spec{Name: host.External, Path: path, SHA256: v.sha256, Args: args[1:], Env: ours}
	}
	return front, path, nil
}

func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// judge runs the kit, reports, and certifies.
func (v *verification) judge(ctx context.Context, out, progress io.Writer, front kit.Front, what judged) error {
	if v.output == "table" {
		progress = out
	}
	report, err := kit.Run(ctx, front, v.options, func(r kit.Result) { fmt.Fprintln(progress, r.Line()) })
	if err != nil {
		return err
	}
	report.SHA256 = what.sha256
	if err := v.write(out, report); err != nil {
		return err
	}
	if report.Idle() {
		return errors.New("no case was run: see the reasons above")
	}
	if !report.Passed() {
		return errNotConformant
	}
	if v.certificate == "" {
		return nil
	}
	c, err := report.Certificate()
	if err != nil {
		return fmt.Errorf("no certificate: %w", err)
	}
	path := certificateIn(v.certificate, what.path, c.Backend)
	if err := c.Write(path); err != nil {
		return fmt.Errorf("write the certificate: %w", err)
	}
	_, err = fmt.Fprintf(progress, "\ncertificate for level %s: %s\n", c.Grade(), path)
	return err
}

func (v *verification) write(w io.Writer, report *kit.Report) error {
	switch v.output {
	case "json":
		return report.WriteJSON(w)
	case "junit":
		return report.WriteJUnit(w)
	case "html":
		return report.WriteHTML(w)
	default:
		_, err := fmt.Fprintf(w, "\n%s", report.Text())
		return err
	}
}
