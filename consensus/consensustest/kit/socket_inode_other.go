//go:build !linux

package kit

import (
	"errors"
	"net/netip"
)

func inodeOf(netip.AddrPort, netip.AddrPort) (uint32, error) {
	return 0, errors.ErrUnsupported
}
