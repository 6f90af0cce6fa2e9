package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/core"
	"github.com/quorate/quorate/core/metadata"
	"github.com/quorate/quorate/core/replica"
)

// refuseStrays refuses metadata with which the node would lose sight of records when it
// starts.
func refuseStrays(cfg configs.Config, file string, img *metadata.Image) error {
	strays, err := replica.Strays(cfg.Node.DataDir, cfg.Node.ID, img)
	if err != nil {
		return fmt.Errorf("look for partitions that %s does not have: %w", file, err)
	}
	if len(strays) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "with %s node %d would remove, or set aside, the records of %s on its disk when it starts:\n", file, cfg.Node.ID, plural(len(strays), "partition"))
	for _, line := range strayLines(strays, file) {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fmt.Fprintf(&b, `nothing was changed. If the export is older than they are: put consensus/backend back, start
and stop the cluster, export again, and import that. If their records are not needed, such
as those of a topic that was deleted while this node was down: move the directories out of
%s first`, cfg.Node.DataDir)
	return fmt.Errorf("%s", b.String())
}

// strayLines names partitions, as many as can be read.
func strayLines(strays []replica.Stray, file string) []string {
	var lines []string
	for _, s := range strays[:min(len(strays), maxNamed)] {
		lines = append(lines, fmt.Sprintf("%s, topic id %s, %d bytes: %s %s", s, s.TopicID, s.Bytes, file, s.Why))
	}
	if more := len(strays) - maxNamed; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

// wouldImport tells what an import would do.
func wouldImport(w io.Writer, cfg configs.Config, img *metadata.Image) error {
	has, err := core.CheckImport(cfg.Node.DataDir, identity(cfg))
	if err != nil {
		return &exitError{consensus.ExitConfig, err}
	}
	if has == cfg.Consensus.Backend {
		_, err = fmt.Fprintf(w, "node %d is on %s already, nothing would be imported: to move it, set consensus/backend to another one\n", cfg.Node.ID, has)
		return err
	}
	_, err = fmt.Fprintf(w, "would import into %s: %s\n", cfg.Consensus.Backend, inventory(img))
	return err
}

// strayNames are what a recovery report lists.
func strayNames(strays []replica.Stray) []string {
	names := []string{}
	for _, s := range strays {
		names = append(names, s.String())
	}
	slices.Sort(names)
	return names
}
