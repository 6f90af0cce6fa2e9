package kit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// sockDiagByFamily is the request of sock_diag(7).
const sockDiagByFamily = 20

// inodeOf asks the kernel (sock_diag(7)) for the socket that is bound to dialler and
// connected to proxy, and for no other. 0: there is none.
func inodeOf(dialler, proxy netip.AddrPort) (inode uint32, err error) {
	if !dialler.Addr().Unmap().Is4() || !proxy.Addr().Unmap().Is4() {
		return 0, errors.New("the proxies are of IPv4")
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("open a socket for sock_diag: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	// The kernel answers before it returns from the request; this is for one that does not.
	limit := unix.NsecToTimeval(time.Second.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return 0, err
	}
	if err := unix.Sendto(fd, inetDiagRequest(dialler, proxy), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("ask sock_diag: %w", err)
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return 0, fmt.Errorf("read the answer of sock_diag: %w", err)
	}
	return inetDiagInode(buf[:n])
}

// inetDiagRequest is a nlmsghdr with an inet_diag_req_v2 (linux/inet_diag.h) that
// names one socket. One of IPv6 with such addresses is found by it, too.
func inetDiagRequest(dialler, proxy netip.AddrPort) []byte {
	const length = unix.SizeofNlMsghdr + 56
	b := make([]byte, 0, length)
	b = binary.NativeEndian.AppendUint32(b, length)
	b = binary.NativeEndian.AppendUint16(b, sockDiagByFamily)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = append(b, make([]byte, 8)...)                              // sequence, port
	b = append(b, unix.AF_INET, unix.IPPROTO_TCP, 0, 0)            // nothing beside the base
	b = binary.NativeEndian.AppendUint32(b, 0xffffffff)            // in whatever state
	b = binary.BigEndian.AppendUint16(b, dialler.Port())           // its own port
	b = binary.BigEndian.AppendUint16(b, proxy.Port())             // the other side's
	for _, a := range []netip.Addr{dialler.Addr(), proxy.Addr()} { // 16 bytes each
		four := a.Unmap().As4()
		b = append(append(b, four[:]...), make([]byte, 12)...)
	}
	b = binary.NativeEndian.AppendUint32(b, 0)                      // on any interface
	return binary.NativeEndian.AppendUint64(b, 0xffffffff_ffffffff) // no cookie
}

// inetDiagInode takes the inode from the answer, which is an inet_diag_msg or an error.
func inetDiagInode(answer []byte) (uint32, error) {
	const inodeAt = unix.SizeofNlMsghdr + 68
	if len(answer) < unix.SizeofNlMsghdr+4 {
		return 0, fmt.Errorf("sock_diag answers with %d bytes", len(answer))
	}
	switch kind := binary.NativeEndian.Uint16(answer[4:]); {
	case kind == unix.NLMSG_ERROR:
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])))
		if errno == unix.ENOENT {
			return 0, nil
		}
		return 0, fmt.Errorf("sock_diag: %w", errno)
	case kind != sockDiagByFamily || len(answer) < inodeAt+4:
		return 0, fmt.Errorf("sock_diag answers with message %d of %d bytes", kind, len(answer))
	}
	return binary.NativeEndian.Uint32(answer[inodeAt:]), nil
}
