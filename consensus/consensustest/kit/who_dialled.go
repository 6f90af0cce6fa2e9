package kit

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// whoDialled returns which of the processes holds the other end of conn, or 0.
// It asks /proc; where there is none, nobody is known.
func whoDialled(conn net.Conn, pids map[uint64]int) uint64 {
	remote, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return 0
	}
	inode := inodeOf(remote.Port(), conn.LocalAddr())
	if inode == "" {
		return 0
	}
	for id, pid := range pids {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // it has ended
		}
		for _, e := range entries {
			if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && link == "socket:["+inode+"]" {
				return id
			}
		}
	}
	return 0
}

// inodeOf finds the socket that is bound to port and connected to the proxy.
func inodeOf(port uint16, proxy net.Addr) string {
	local, err := netip.ParseAddrPort(proxy.String())
	if err != nil {
		return ""
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if inode := searchTable(table, fmt.Sprintf(":%04X", port), fmt.Sprintf(":%04X", local.Port())); inode != "" {
			return inode
		}
	}
	return ""
}

func searchTable(path, port, peer string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }() // only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 9 && strings.HasSuffix(f[1], port) && strings.HasSuffix(f[2], peer) {
			return f[9]
		}
	}
	return ""
}
