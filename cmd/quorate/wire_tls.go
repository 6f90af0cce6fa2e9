package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/quorate/quorate/cmd/quorate/certificates"
	"github.com/quorate/quorate/configs"
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/peertls"
	"github.com/quorate/quorate/core"
)

// reloadWait bounds one handover of new certificates to the consensus plugin.
const reloadWait = 10 * time.Second

// listenerTLS is what a listener for clients or operators shows and asks for. Its
// files are watched: name is what the log calls them.
func listenerTLS(name string, c configs.ListenerTLS, certs *certificates.Watcher) (*tls.Config, error) {
	files := certificates.Files{CA: c.CA, Cert: c.Cert, Key: c.Key}
	m, err := files.Read()
	if err != nil {
		return nil, err
	}
	current := &atomic.Pointer[tls.Config]{}
	take := func(m certificates.Material) error {
		fresh, err := serverTLS(c, m)
		if err == nil {
			current.Store(fresh)
		}
		return err
	}
	if err := take(m); err != nil {
		return nil, err
	}
	certs.Add(name, files, m, func(_ context.Context, m certificates.Material) error {
		if _, err := m.Pair(); err != nil {
			return err
		}
		return take(m)
	})
	return newest(current), nil
}

func serverTLS(c configs.ListenerTLS, m certificates.Material) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(m.Cert, m.Key)
	if err != nil {
		return nil, err
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	switch c.ClientAuth {
	case "request":
		out.ClientAuth = tls.VerifyClientCertIfGiven
	case "require":
		out.ClientAuth = tls.RequireAndVerifyClientCert
	}
	out.ClientCAs, err = m.Authorities()
	return out, err
}

// newest is a server's configuration that is looked up for every connection.
func newest(current *atomic.Pointer[tls.Config]) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil },
	}
}

// clusterTLS secures the traffic between brokers, if the config says so. The files
// are watched.
func clusterTLS(c *core.Config, cluster configs.Cluster, certs *certificates.Watcher) error {
	if !cluster.TLS.Enabled() {
		return nil
	}
	server, client := &atomic.Pointer[tls.Config]{}, &atomic.Pointer[tls.Config]{}
	take := func(identity *consensus.PeerTLS) error {
		s, err := peertls.Server(identity)
		if err != nil {
			return err
		}
		cl, err := peertls.Client(identity, cluster.Advertise)
		if err != nil {
			return err
		}
		// The pool dials many brokers: it fills in the name of each, unless one is set
		// that all of them share.
		cl.ServerName = identity.ServerName
		server.Store(s)
		client.Store(cl)
		return nil
	}
	m, err := peerFiles(cluster.TLS).Read()
	if err != nil {
		return err
	}
	if err := take(peerTLS(cluster.TLS, m)); err != nil {
		return err
	}
	watchPeers("cluster/tls", cluster.TLS, m, certs, func(_ context.Context, fresh *consensus.PeerTLS) error { return take(fresh) })
	c.ClusterServerTLS, c.ClusterClientTLS = newest(server), client.Load()
	c.ClusterClientTLSNow = client
	return nil
}

// watchPluginTLS hands new certificates to the backend, which had those in m.
func watchPluginTLS(c configs.PeerTLS, m certificates.Material, certs *certificates.Watcher, backend consensus.Client) {
	watchPeers("consensus/peer/tls", c, m, certs, func(ctx context.Context, fresh *consensus.PeerTLS) error {
		ctx, cancel := context.WithTimeout(ctx, reloadWait)
		defer cancel()
		err := backend.ReloadPeerTLS(ctx, *fresh)
		switch {
		case errors.Is(err, consensus.ErrUnavailable):
			return nil // it gets them when it starts again
		case errors.Is(err, consensus.ErrUnsupported):
			return fmt.Errorf("the consensus backend takes them only at its start: restart the node (%w)", err)
		default:
			return err
		}
	})
}

func watchPeers(name string, c configs.PeerTLS, m certificates.Material, certs *certificates.Watcher, take func(context.Context, *consensus.PeerTLS) error) {
	if !c.Enabled() {
		return
	}
	certs.Add(name, peerFiles(c), m, func(ctx context.Context, fresh certificates.Material) error {
		if err := fresh.CheckPeer(); err != nil {
			return err
		}
		return take(ctx, peerTLS(c, fresh))
	})
}

// readPeerTLS reads a node's identity towards its peers, or returns nil if there
// is none.
func readPeerTLS(c configs.PeerTLS) (*consensus.PeerTLS, error) {
	if !c.Enabled() {
		return nil, nil
	}
	m, err := peerFiles(c).Read()
	if err != nil {
		return nil, err
	}
	return peerTLS(c, m), nil
}

// peerFiles are none if TLS is off.
func peerFiles(c configs.PeerTLS) certificates.Files {
	if !c.Enabled() {
		return certificates.Files{}
	}
	return certificates.Files{CA: c.CA, Cert: c.Cert, Key: c.Key}
}

func peerTLS(c configs.PeerTLS, m certificates.Material) *consensus.PeerTLS {
	return &consensus.PeerTLS{CA: m.CA, Cert: m.Cert, Key: m.Key, ServerName: c.ServerName, AllowedSANs: c.AllowedSANs}
}
