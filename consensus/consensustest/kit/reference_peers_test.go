package kit_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/peertls"
)

// peerPort is where a replica of the reference can be dialled. Nothing is ever
// said there: what it says is who it is, and whom it believes.
type peerPort struct {
	identity atomic.Pointer[consensus.PeerTLS]
	listener net.Listener
	open     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
}

func listenTLS(address string, identity *consensus.PeerTLS, everybody bool) (*peerPort, error) {
	p := &peerPort{}
	p.identity.Store(identity)
	if _, err := peertls.Server(identity); err != nil {
		return nil, err
	}
	lis, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	p.listener = tls.NewListener(lis, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c, err := peertls.Server(p.identity.Load())
		if err == nil && everybody {
			c.ClientAuth, c.VerifyConnection = tls.NoClientCert, nil
		}
		return c, err
	}})
	p.open.Go(p.accept)
	return p, nil
}

func (p *peerPort) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.mu.Lock()
		p.conns = append(p.conns, conn)
		p.mu.Unlock()
		p.open.Go(func() {
			_, _ = conn.Read(make([]byte, 1)) // until the other side goes, or is not believed
			_ = conn.Close()
		})
	}
}

func (p *peerPort) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.mu.Unlock()
	p.open.Wait()
}

// believes tells whether p takes other for a peer. nil is who speaks plaintext.
func (p *peerPort) believes(other *peerPort) bool {
	if p == nil || other == nil {
		return p == other
	}
	mine, theirs := p.identity.Load(), other.identity.Load()
	block, _ := pem.Decode(theirs.Cert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return false
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(mine.CA)
	_, err = cert.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	return err == nil && slices.Contains(cert.DNSNames, mine.AllowedSANs[0])
}
