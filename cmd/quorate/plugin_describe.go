package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/host"
)

// describeTimeout bounds the start of a plugin that is only asked what it is.
const describeTimeout = 30 * time.Second

// builtIn is the source of plugins that are in this binary.
const builtIn = "built in"

// describedPlugin is a plugin, and where it comes from.
type describedPlugin struct {
	Name         string       `json:"name"`
	Version      string       `json:"version"`
	Contract     string       `json:"contract"`
	SHA256       string       `json:"sha256"`
	Source       string       `json:"source"` // "built in", or the path of the executable
	Capabilities []string     `json:"capabilities"`
	Limits       pluginLimits `json:"limits"`
	Settings     []setting    `json:"settings"`
}

// pluginLimits are a backend's bounds; zero means that it leaves them to the SDK.
type pluginLimits struct {
	Groups            uint32 `json:"max_groups"`
	Members           uint32 `json:"max_members"`
	ProposalBytes     uint64 `json:"max_proposal_bytes"`
	InflightProposals uint32 `json:"max_inflight_proposals"`
	InflightBytes     uint64 `json:"max_inflight_bytes"`
}

// describePlugin asks a plugin what it is: a built-in one by its name, in this
// process, and an external one by its path, in its own. External plugins get args
// and env as they would from a broker, and its checksum is checked if it is set.
func describePlugin(ctx context.Context, nameOrPath string, external host.Spec) (describedPlugin, error) {
	if newBackend, ok := backends[nameOrPath]; ok {
		return describeBuiltIn(newBackend())
	}
	path, err := pluginPath(nameOrPath)
	if err != nil {
		return describedPlugin{}, err
	}
	dir, err := os.MkdirTemp("", "quorate-plugin-")
	if err != nil {
		return describedPlugin{}, err
	}
	defer os.RemoveAll(dir)
	external.Name, external.Path, external.RunDir = host.External, path, dir
	ctx, cancel := context.WithTimeout(ctx, describeTimeout)
	defer cancel()
	d, _, err := host.Describe(ctx, external, slog.New(slog.DiscardHandler))
	if err != nil {
		return describedPlugin{}, &exitError{describeExitCode(err), fmt.Errorf("%w; \"quorate plugin doctor %s\" looks closer", err, nameOrPath)}
	}
	return newDescribedPlugin(d, path, path)
}

func describeExitCode(err error) int {
	if e, ok := errors.AsType[*host.ExitError](err); ok {
		return e.Code
	}
	return exitFailure
}

func describeBuiltIn(b consensus.Backend) (describedPlugin, error) {
	self, err := os.Executable()
	if err != nil {
		return describedPlugin{}, err
	}
	return newDescribedPlugin(b.Describe(), builtIn, self)
}

// pluginPath is the absolute path of an executable. The name of a built-in plugin
// that is misspelt looks like a path as well.
func pluginPath(nameOrPath string) (string, error) {
	path, err := filepath.Abs(nameOrPath)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return "", usagef("%s is a folder, and a plugin an executable; \"quorate plugin run %s\" builds one from its source", nameOrPath, nameOrPath)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return "", usagef("there is neither a built-in plugin (%s) nor a file %s", strings.Join(backendNames(), ", "), nameOrPath)
	}
	return path, nil
}

func newDescribedPlugin(d consensus.Description, source, file string) (describedPlugin, error) {
	sum, err := fileChecksum(file)
	if err != nil {
		return describedPlugin{}, err
	}
	settings, err := settingsOf(d.ConfigSchema)
	if err != nil {
		return describedPlugin{}, fmt.Errorf("the schema of the settings of %s: %w", d.Backend, err)
	}
	p := describedPlugin{
		Name:     d.Backend,
		Version:  d.Version,
		Contract: fmt.Sprintf("%d.%d", contractMajor, d.ContractMinor),
		SHA256:   sum,
		Source:   source,
		Settings: settings,
		Limits: pluginLimits{
			Groups:            d.Limits.MaxGroups,
			Members:           d.Limits.MaxMembers,
			ProposalBytes:     d.Limits.MaxProposalBytes,
			InflightProposals: d.Limits.MaxInflightProposals,
			InflightBytes:     d.Limits.MaxInflightBytes,
		},
	}
	for _, c := range slices.Sorted(slices.Values(d.Capabilities)) {
		p.Capabilities = append(p.Capabilities, capabilityName(c))
	}
	return p, nil
}

// capabilityNames are those of consensus.proto, as people write them.
var capabilityNames = map[consensus.Capability]string{
	consensus.CapMultiGroup:        "multi-group",
	consensus.CapLearners:          "learners",
	consensus.CapJointConsensus:    "joint-consensus",
	consensus.CapLeaderTransfer:    "leader-transfer",
	consensus.CapFollowerReadIndex: "follower-read-index",
	consensus.CapPreVote:           "pre-vote",
	consensus.CapCheckQuorum:       "check-quorum",
	consensus.CapAppendNotify:      "append-notify",
	consensus.CapTLSReload:         "tls-reload",
	consensus.CapWitness:           "witness",
	consensus.CapGroupQuiesce:      "group-quiesce",
}

// capabilityName names one that this broker does not know by its number.
func capabilityName(c consensus.Capability) string {
	if name, ok := capabilityNames[c]; ok {
		return name
	}
	return fmt.Sprintf("capability-%d", c)
}

func fileChecksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
