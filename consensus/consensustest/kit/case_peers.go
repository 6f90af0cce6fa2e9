package kit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/quorate/quorate/consensus"
)

var peerCases = []Case{
	{Number: 25, Name: "peers prove who they are", Level: 2, Nodes: 3, Rules: []string{"PEER_TLS", "D3"}, run: impostors},
	{Number: 25, Name: "certificates are changed under load", Level: 3, Nodes: 3, Rules: []string{"TLS_RELOAD", "PEER_TLS", "P3", "D3"}, Links: true, Needs: consensus.CapTLSReload, run: rotation},
}

// withTLS gives every replica a certificate of a.
func (l *lab) withTLS(a *authority, trusted ...*authority) {
	for _, n := range l.nodes {
		n.tls = l.issue(a, replicaSubject(l.clusterID, n.id), trusted...)
	}
}

func (l *lab) issue(a *authority, s subject, trusted ...*authority) *consensus.PeerTLS {
	t, err := a.issue(s, trusted...)
	l.must(err)
	return t
}

func (l *lab) authority(name string) *authority {
	a, err := newAuthority(name)
	l.must(err)
	return a
}

// impostor is an identity that nobody may believe. One without an identity speaks
// plaintext.
type impostor struct {
	what string
	tls  *consensus.PeerTLS
}

func (l *lab) impostors(ours *authority, id uint64) []impostor {
	theirs := l.authority("somebody else")
	right := replicaSubject(l.clusterID, id)
	expired := right
	expired.begins, expired.ends = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	early := right
	early.begins = time.Now().Add(time.Hour)
	other := right
	other.names, other.ips = []string{"www.example.org"}, []net.IP{net.IPv4(192, 0, 2, 1)}
	return []impostor{
		{"a certificate of another authority", l.issue(theirs, right, ours, theirs)},
		{"a certificate that has expired", l.issue(ours, expired, ours)},
		{"a certificate that is for others", l.issue(ours, other, ours)},
		{"plaintext", nil},
		{"a certificate that is not valid yet", l.issue(ours, early, ours)},
	}
}

// impostors lets a follower come back with identities that nobody may believe,
// and has everybody dialled with the same.
func impostors(l *lab) {
	ours := l.authority("kit")
	l.withTLS(ours, ours)
	l.startAll(consensus.OpenBootstrap)
	l.commit(20, 4)
	leader, _ := l.leader()
	n := l.others(leader)[l.random.IntN(2)]
	right := n.tls
	for _, other := range l.others(n) {
		if err := l.dialPeer(other, n.tls); isAlert(err) {
			l.giveUp("PEER_TLS", "replica %d does not believe a peer with a good certificate: %v", other.id, err)
		}
	}
	all := l.impostors(ours, n.id)
	for _, who := range all[:l.scale(4, 5, 5)] {
		n.kill()
		l.commit(10, 4)
		for _, other := range l.others(n) {
			if err := l.dialPeer(other, who.tls); err == nil {
				l.checks.breaks("PEER_TLS", "replica %d takes a connection with %s", other.id, who.what)
			}
		}
		l.pretends(n, who)
		n.tls = right
		n.start(consensus.OpenRecover)
		l.converge()
	}
}

// pretends starts n with an identity that nobody may believe: it must get nothing.
func (l *lab) pretends(n *node, who impostor) {
	highest := l.checks.highestCommitted()
	if n.tls = who.tls; n.tls == nil {
		n.plaintext = true
	}
	defer func() { n.plaintext = false }()
	if err := n.tryStart(consensus.OpenRecover); err != nil {
		return // it sees itself what is wrong with its certificate
	}
	l.commit(10, 4)
	until := time.Now().Add(quiet / 2 * l.timing.ElectionTimeout)
	l.within(l.opts.Patience, func() bool {
		if got := n.applied(); got >= highest {
			l.giveUp("PEER_TLS", "replica %d comes with %s, and is given the log up to %d", n.id, who.what, got)
		}
		if s := n.leadership(); s.Role == consensus.LeaderReady {
			l.giveUp("PEER_TLS", "replica %d comes with %s, and leads", n.id, who.what)
		}
		return time.Now().After(until)
	})
	n.kill()
}

// dialTime is how long a replica may take to look at a certificate, and to close
// a connection on which nobody says anything.
const dialTime = 10 * time.Second

// dialPeer makes a connection to n's port for peers, as identity. It returns nil
// if n believes it, and keeps the connection open for a while.
func (l *lab) dialPeer(n *node, identity *consensus.PeerTLS) error {
	conn, err := net.DialTimeout("tcp", n.listen, dialTime)
	l.must(err)
	defer func() { _ = conn.Close() }() // whatever is left of it
	if identity == nil {
		return l.dialPlaintext(conn)
	}
	secure, err := secured(conn, identity)
	l.must(err)
	ctx, cancel := context.WithTimeout(l.ctx, dialTime)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	// With TLS 1.3 the client's certificate is looked at after its handshake is over.
	l.must(secure.SetReadDeadline(time.Now().Add(l.alertWait())))
	if _, err = secure.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// alertWait is long enough for an alert on this machine, and short enough to be
// waited for with a good certificate, when there is none.
func (l *lab) alertWait() time.Duration { return max(time.Second, 3*l.timing.ElectionTimeout) }

// isAlert tells whether the other side has said, by an alert of TLS, that it does
// not believe.
func isAlert(err error) bool {
	remote, ok := errors.AsType[*net.OpError](err)
	return ok && remote.Op == "remote error"
}

// dialPlaintext says something that is no handshake. A replica that asks for TLS
// answers with an alert, or closes the connection.
func (l *lab) dialPlaintext(conn net.Conn) error {
	if _, err := conn.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		return err
	}
	l.must(conn.SetReadDeadline(time.Now().Add(dialTime)))
	reply := make([]byte, 1)
	switch _, err := conn.Read(reply); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case err != nil:
		return err
	case reply[0] == alertRecord:
		return errors.New("an alert")
	default:
		return nil
	}
}

// alertRecord is the first byte of an alert of TLS.
const alertRecord = 21

func secured(conn net.Conn, identity *consensus.PeerTLS) (*tls.Conn, error) {
	pair, err := tls.X509KeyPair(identity.Cert, identity.Key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(identity.CA)
	return tls.Client(conn, &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: peerName, MinVersion: tls.VersionTLS13}), nil
}

// rotation changes authority and certificates of all replicas under load, in the
// order in which operators do it.
func rotation(l *lab) {
	old, fresh := l.authority("old"), l.authority("fresh")
	l.withTLS(old, old)
	l.startAll(consensus.OpenBootstrap)
	l.commit(20, 4)
	stop := l.load(16)
	for _, step := range []struct {
		what    string
		issuer  *authority
		trusted []*authority
	}{
		{"both authorities are trusted", old, []*authority{old, fresh}},
		{"new certificates", fresh, []*authority{old, fresh}},
		{"the old authority is not trusted any more", fresh, []*authority{fresh}},
	} {
		l.withTLS(step.issuer, step.trusted...)
		for _, n := range l.nodes {
			if err := l.reload(n); err != nil {
				l.giveUp("TLS_RELOAD", "%s: replica %d: %v", step.what, n.id, err)
			}
		}
		for range l.scale(2, 4, 20) {
			l.links.hangUp() // new connections
			l.advance(20)
		}
		for _, n := range l.nodes {
			l.shows(n, step.what)
		}
	}
	stop()
	stranger := l.issue(old, replicaSubject(l.clusterID, 1), old, fresh)
	for _, n := range l.nodes {
		if err := l.dialPeer(n, stranger); err == nil {
			l.checks.breaks("TLS_RELOAD", "replica %d still takes certificates of an authority that is not trusted any more", n.id)
		}
	}
	leader, _ := l.leader()
	leader.kill()
	leader.start(consensus.OpenRecover)
	l.commit(20, 4)
	l.converge()
}

func (l *lab) reload(n *node) error {
	ctx, cancel := context.WithTimeout(l.ctx, l.opts.Patience)
	defer cancel()
	return n.client().ReloadPeerTLS(ctx, *n.tls)
}

// shows wants n to answer with the certificate that it was given last.
func (l *lab) shows(n *node, when string) {
	conn, err := net.DialTimeout("tcp", n.listen, dialTime)
	l.must(err)
	defer func() { _ = conn.Close() }() // nothing was said on it
	secure, err := secured(conn, n.tls)
	l.must(err)
	ctx, cancel := context.WithTimeout(l.ctx, dialTime)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		l.checks.breaks("TLS_RELOAD", "%s: replica %d: %v", when, n.id, err)
		return
	}
	if want, got := serialOf(n.tls.Cert), secure.ConnectionState().PeerCertificates[0]; got.Issuer.CommonName+got.SerialNumber.String() != want {
		l.checks.breaks("TLS_RELOAD", "%s: replica %d still shows certificate %s of %q", when, n.id, got.SerialNumber, got.Issuer.CommonName)
	}
}

// serialOf names a certificate by its issuer and number.
func serialOf(pemBytes []byte) string {
	pair, err := parseCertificate(pemBytes)
	if err != nil {
		return fmt.Sprint(err)
	}
	return pair.Issuer.CommonName + pair.SerialNumber.String()
}
