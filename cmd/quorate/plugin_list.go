package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus/host"
)

// listedPlugin is one line of `plugin list`.
type listedPlugin struct {
	describedPlugin
	Level string `json:"level"` // of the certificate beside its executable; "-" without one
	// NoLevel is what is wrong with a certificate that is there.
	NoLevel string `json:"certificate_problem,omitempty"`
	InUse   bool   `json:"in_use"`
	Error   string `json:"error,omitempty"` // why it could not be asked
}

func newPluginList() *cobra.Command {
	var out output
	var path string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the plugins in this binary and the one that a config file names",
		Args:  arguments(0, 0),
	}
	out.register(cmd)
	cmd.Flags().StringVarP(&path, "config", "c", "", "the config `file` of a node")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var cfg configs.Config
		if path != "" {
			var err error
			if cfg, err = loadConfig(configs.Source{Path: path, Env: settingsEnvironment()}, cmd.ErrOrStderr()); err != nil {
				return err
			}
		}
		list, err := listPlugins(cmd, cfg.Consensus)
		if err != nil {
			return err
		}
		var rows [][]any
		for _, p := range list {
			rows = append(rows, p.row())
		}
		return out.print(cmd.OutOrStdout(), list, []string{"name", "version", "contract", "level", "sha256", "source", "in use"}, rows)
	}
	return cmd
}

// listPlugins returns the built-in plugins by name, then the external one.
func listPlugins(cmd *cobra.Command, cfg configs.Consensus) ([]listedPlugin, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var list []listedPlugin
	for _, name := range backendNames() {
		p, err := describePlugin(cmd.Context(), name, host.Spec{})
		if err != nil {
			return nil, err
		}
		list = append(list, listed(p, self, name == cfg.Backend))
	}
	if cfg.Backend != host.External {
		return list, nil
	}
	e := cfg.External
	p, err := describePlugin(cmd.Context(), e.Path, host.Spec{SHA256: e.SHA256, Args: e.Args, Env: e.Env})
	external := listedPlugin{describedPlugin: p, Level: "-", InUse: true}
	if err != nil { // it is listed all the same: this is where one looks
		external.Name, external.Source, external.SHA256, external.Error = host.External, e.Path, e.SHA256, err.Error()
	} else {
		external = listed(p, p.Source, true)
	}
	return append(list, external), nil
}

// listed is a plugin with the level that its certificate gives it.
func listed(p describedPlugin, executable string, inUse bool) listedPlugin {
	l := listedPlugin{describedPlugin: p, InUse: inUse}
	l.Level, l.NoLevel = gradeOf(executable, p.Name, p.SHA256)
	return l
}

// shortSum is how much of a checksum a table shows.
const shortSum = 12

func (p listedPlugin) row() []any {
	inUse := "-"
	if p.InUse {
		inUse = "yes"
	}
	if p.Error != "" {
		inUse = "yes, but: " + p.Error
	}
	level := p.Level
	if p.NoLevel != "" {
		level = "- (a certificate of something else)"
	}
	return []any{p.Name, orDash(p.Version), orDash(p.Contract), level, p.SHA256[:min(len(p.SHA256), shortSum)], p.Source, inUse}
}
