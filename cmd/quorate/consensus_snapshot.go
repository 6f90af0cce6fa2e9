package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/quorate/quorate/core/admin/archive"
	"github.com/quorate/quorate/core/metadata"
)

func newConsensusSnapshot(nodes *adminNodes) *cobra.Command {
	return parent(&cobra.Command{Use: "snapshot", Short: "Keep the cluster's metadata in a file, and look into one"},
		newSnapshotSave(nodes), newSnapshotInspect())
}

func newSnapshotSave(nodes *adminNodes) *cobra.Command {
	var local bool
	out := &output{}
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Write the cluster's metadata to a file, while the cluster runs",
		Long: `Write the cluster's metadata to a file, while the cluster runs: topics with their ids
and settings, partitions, brokers and counters, but no records and no positions of
groups. It has everything that was acknowledged before. "quorate consensus import"
and "quorate consensus recover --archive" take it.`,
		Example: `  quorate consensus snapshot save metadata.qa
  quorate consensus snapshot save metadata.qa --local --admin node3:9644`,
		Args: arguments(1, 1),
	}
	out.register(cmd)
	cmd.Flags().BoolVar(&local, "local", false, "what the node has, also if the metadata log has no leader")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		address, path := nodes.addresses[0], "/consensus/snapshot?local=true"
		if !local {
			leader, err := nodes.leader(cmd.Context())
			if err != nil {
				return fmt.Errorf("%w; with --local, a node gives what it has", err)
			}
			address, path = leader.address, "/consensus/snapshot"
		}
		if err := saveArchive(cmd.Context(), nodes, address, path, args[0]); err != nil {
			return fmt.Errorf("save %s: %w", args[0], err)
		}
		found, err := inspectArchive(args[0])
		if err != nil {
			return err
		}
		if out.format != "table" {
			return out.print(cmd.OutOrStdout(), found, nil, nil)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "saved %s: cluster %s as of entry %d of term %d, %d bytes, sha256 %s\n",
			args[0], found.Cluster, found.Index, found.Term, found.Bytes, found.SHA256)
		return err
	}
	return cmd
}

// saveArchive makes the file appear whole, or not at all.
func saveArchive(ctx context.Context, nodes *adminNodes, address, path, file string) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = nodes.fetch(ctx, address, path, func(body io.Reader) error {
		_, err := io.Copy(f, body)
		return err
	})
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if _, err := inspectArchive(f.Name()); err != nil {
		return fmt.Errorf("what %s sent is not whole: %w; try again", address, errors.Unwrap(err))
	}
	return os.Rename(f.Name(), file)
}

// fetch reads an answer that is no JSON.
func (n *adminNodes) fetch(ctx context.Context, address, path string, take func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	resp, err := n.request(ctx, http.MethodGet, address, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		return take(resp.Body)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", address, err)
	}
	return refusal(address, resp.Status, content)
}

// inspected is what `snapshot inspect` shows.
type inspected struct {
	archive.Header
	File    string         `json:"file"`
	Bytes   int64          `json:"bytes"` // of the content
	SHA256  string         `json:"sha256"`
	Records map[string]int `json:"records"` // by kind
}

// readArchive reads a whole archive and what is in it.
func readArchive(file string) (*archive.Reader, *metadata.Image, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	r, err := archive.NewReader(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if r.Header.Format != metadata.SnapshotFormat {
		return nil, nil, fmt.Errorf("%s: its content has the format %q, which this version does not know", file, r.Header.Format)
	}
	img, err := metadata.ReadSnapshot(r)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // to its end, which proves the rest
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, img, nil
}

func inspectArchive(file string) (inspected, error) {
	r, img, err := readArchive(file)
	if err != nil {
		return inspected{}, err
	}
	out := inspected{Header: r.Header, File: file, Bytes: r.Size(), SHA256: hex.EncodeToString(r.Digest()), Records: map[string]int{}}
	for _, rec := range img.Records() {
		out.Records[recordKind(rec)]++
	}
	return out, nil
}

// recordKind is "register broker" for a RegisterBrokerRecord.
func recordKind(rec metadata.Record) string {
	name := strings.TrimSuffix(reflect.TypeOf(rec).Name(), "Record")
	var b strings.Builder
	for i, c := range name {
		upper := c >= 'A' && c <= 'Z'
		if upper && i > 0 && (name[i-1] < 'A' || name[i-1] > 'Z') {
			b.WriteByte(' ')
		}
		b.WriteRune(c)
	}
	return strings.ToLower(b.String())
}

func newSnapshotInspect() *cobra.Command {
	out := &output{}
	cmd := &cobra.Command{
		Use:     "inspect FILE",
		Short:   "Check a file that snapshot save wrote, and show what is in it",
		Example: `  quorate consensus snapshot inspect metadata.qa`,
		Args:    arguments(1, 1),
	}
	out.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		found, err := inspectArchive(args[0])
		if err != nil {
			return err
		}
		return out.print(cmd.OutOrStdout(), found, []string{"field", "value"}, found.rows())
	}
	return cmd
}

func (i inspected) rows() [][]any {
	rows := [][]any{
		{"cluster", i.Cluster},
		{"written", fmt.Sprintf("%s by node %d, backend %s", i.Created.Format(time.RFC3339), i.Node, i.Backend)},
		{"index", i.Index},
		{"term", i.Term},
	}
	for _, m := range i.Members {
		rows = append(rows, []any{"member", fmt.Sprintf("replica %d of broker %d, %s, %s", m.Replica, m.Broker, m.Address, m.Role)})
	}
	rows = append(rows, []any{"bytes", i.Bytes}, []any{"sha256", i.SHA256})
	for _, kind := range slices.Sorted(maps.Keys(i.Records)) {
		rows = append(rows, []any{"records", fmt.Sprintf("%d %s", i.Records[kind], kind)})
	}
	return rows
}
