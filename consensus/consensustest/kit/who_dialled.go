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
// The kernel is asked for that one socket; where it does not answer, the tables of
// /proc are searched, and where there are none, nobody is known.
func whoDialled(conn net.Conn, pids map[uint64]int) uint64 {
	dialler, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return 0
	}
	proxy, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return 0
	}
	inode, err := inodeOf(dialler, proxy)
	if err != nil {
		inode = inodeInTables(dialler, proxy)
	}
	if inode == 0 {
		return 0
	}
	for id, pid := range pids {
		if holdsSocket(pid, inode) {
			return id
		}
	}
	return 0
}

// holdsSocket tells whether the process has the socket among its descriptors.
func holdsSocket(pid int, inode uint32) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false // it has ended
	}
	want := fmt.Sprintf("socket:[%d]", inode)
	for _, e := range entries {
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil && link == want {
			return true
		}
	}
	return false
}

// inodeInTables finds the socket that is bound to dialler and connected to proxy in
// the list of all sockets; 0 if it is not there. On a machine with many that is slow.
func inodeInTables(dialler, proxy netip.AddrPort) uint32 {
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		if inode := searchTable(table, fmt.Sprintf(":%04X", dialler.Port()), fmt.Sprintf(":%04X", proxy.Port())); inode != 0 {
			return inode
		}
	}
	return 0
}

func searchTable(path, port, peer string) (inode uint32) {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }() // only read
	for lines := bufio.NewScanner(f); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || !strings.HasSuffix(f[1], port) || !strings.HasSuffix(f[2], peer) {
			continue
		}
		if _, err := fmt.Sscan(f[9], &inode); err == nil && inode != 0 {
			return inode
		}
	}
	return 0
}
