package lab

import (
	"crypto/sha256"
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
)

// writeConfig writes the node's config file, as a user would.
func (n *Node) writeConfig() error {
	if err := os.MkdirAll(n.Dir, 0o755); err != nil {
		return err
	}
	brokers, rafts := n.cluster.peers(n.ID)
	consensus := map[string]any{"backend": n.cluster.Backend}
	if path := n.cluster.External; path != "" {
		content, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("write the config of node %d: %w", n.ID, err)
		}
		consensus["external"] = map[string]any{"path": path, "sha256": fmt.Sprintf("%x", sha256.Sum256(content))}
	}
	if entries := n.cluster.SnapshotEntries; entries > 0 {
		consensus["log"] = map[string]any{"snapshot_entries": entries, "retain_entries": n.cluster.RetainEntries}
	}
	file := map[string]any{
		"node":      map[string]any{"id": n.ID, "data_dir": n.DataDir()},
		"listeners": []any{map[string]any{"name": "clients", "bind": n.Client}},
		"admin":     map[string]any{"bind": n.Admin},
		"consensus": consensus,
		"kafka":     n.cluster.Kafka,
	}
	if len(n.cluster.nodes) > 1 {
		cluster := map[string]any{"id": "lab", "bind": n.Broker, "peers": brokers}
		peer := map[string]any{"listen": n.Raft, "advertise": n.Raft}
		consensus["peers"] = rafts
		consensus["peer"] = peer
		if n.cluster.Proxies {
			cluster["advertise"] = loopback(1) // nobody listens: there is no way around the proxies
		}
		if n.join != nil {
			seeds := map[int]string{}
			for _, seed := range n.join {
				seeds[seed.ID] = seed.Broker
			}
			cluster["join"], cluster["peers"] = true, seeds
			delete(consensus, "peers")
		}
		if certs := n.cluster.certs; certs != nil {
			cluster["tls"], peer["tls"] = certs.section(n.ID), certs.section(n.ID)
		}
		file["cluster"] = cluster
	}
	out, err := yaml.Marshal(file)
	if err != nil {
		return fmt.Errorf("write the config of node %d: %w", n.ID, err)
	}
	return os.WriteFile(n.ConfigFile(), out, 0o644)
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
