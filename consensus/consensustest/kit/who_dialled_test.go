package kit

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
)

func TestWhoDialled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("who dials is found by /proc")
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	for _, network := range []string{"tcp4", "tcp"} {
		dialled, err := net.Dial(network, lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer dialled.Close()
		served, err := lis.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer served.Close()
		if got := whoDialled(served, map[uint64]int{7: os.Getpid(), 8: os.Getppid()}); got != 7 {
			t.Errorf("%s: replica %d dialled, want 7", network, got)
		}
		if got := whoDialled(served, map[uint64]int{8: os.Getppid()}); got != 0 {
			t.Errorf("%s: replica %d dialled, want nobody that is known", network, got)
		}
		here, there := addrPort(t, served.RemoteAddr()), addrPort(t, served.LocalAddr())
		inode, err := inodeOf(here, there)
		if err != nil {
			t.Errorf("%s: the kernel does not tell: %v", network, err)
		}
		if table := inodeInTables(here, there); table == 0 || err == nil && table != inode {
			t.Errorf("%s: the kernel says inode %d, the tables %d", network, inode, table)
		}
	}
}

func TestInodeOfNobody(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it is Linux that is asked")
	}
	inode, err := inodeOf(netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2"))
	if inode != 0 || err != nil {
		t.Errorf("inode %d of a connection that is not, %v", inode, err)
	}
}

func addrPort(t *testing.T, a net.Addr) netip.AddrPort {
	t.Helper()
	parsed, err := netip.ParseAddrPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func BenchmarkInode(b *testing.B) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer lis.Close()
	dialled, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer dialled.Close()
	here, there := netip.MustParseAddrPort(dialled.LocalAddr().String()), netip.MustParseAddrPort(lis.Addr().String())
	b.Run("sock_diag", func(b *testing.B) {
		for b.Loop() {
			if inode, err := inodeOf(here, there); inode == 0 || err != nil {
				b.Fatal(inode, err)
			}
		}
	})
	b.Run("tables", func(b *testing.B) {
		for b.Loop() {
			if inodeInTables(here, there) == 0 {
				b.Fatal("not found")
			}
		}
	})
}
