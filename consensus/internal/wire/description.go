package wire

import (
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// DescriptionToProto translates what a backend says of itself.
func DescriptionToProto(d consensus.Description) *consensuspb.DescribeResponse {
	return &consensuspb.DescribeResponse{
		Backend:          d.Backend,
		Version:          d.Version,
		ContractMinor:    d.ContractMinor,
		Capabilities:     CapabilitiesToProto(d.Capabilities),
		ConfigJsonSchema: d.ConfigSchema,
		PeerProtocol:     d.PeerProtocol,
		Limits: &consensuspb.Limits{
			MaxGroups:            d.Limits.MaxGroups,
			MaxMembers:           d.Limits.MaxMembers,
			MaxProposalBytes:     d.Limits.MaxProposalBytes,
			MaxInflightProposals: d.Limits.MaxInflightProposals,
			MaxInflightBytes:     d.Limits.MaxInflightBytes,
		},
	}
}

// DescriptionFromProto is the reverse of DescriptionToProto.
func DescriptionFromProto(p *consensuspb.DescribeResponse) consensus.Description {
	l := p.GetLimits()
	return consensus.Description{
		Backend:       p.GetBackend(),
		Version:       p.GetVersion(),
		ContractMinor: p.GetContractMinor(),
		Capabilities:  CapabilitiesFromProto(p.GetCapabilities()),
		ConfigSchema:  p.GetConfigJsonSchema(),
		PeerProtocol:  p.GetPeerProtocol(),
		Limits: consensus.Limits{
			MaxGroups:            l.GetMaxGroups(),
			MaxMembers:           l.GetMaxMembers(),
			MaxProposalBytes:     l.GetMaxProposalBytes(),
			MaxInflightProposals: l.GetMaxInflightProposals(),
			MaxInflightBytes:     l.GetMaxInflightBytes(),
		},
	}
}

// CapabilitiesToProto translates capabilities; the numbers are the same.
func CapabilitiesToProto(cs []consensus.Capability) []consensuspb.Capability {
	return each(cs, func(c consensus.Capability) consensuspb.Capability { return consensuspb.Capability(c) })
}

// CapabilitiesFromProto is the reverse of CapabilitiesToProto. Unknown ones are
// kept: a host may name them in its complaint.
func CapabilitiesFromProto(ps []consensuspb.Capability) []consensus.Capability {
	return each(ps, func(p consensuspb.Capability) consensus.Capability { return consensus.Capability(p) })
}

// DiagnosticsToProto translates the problems of a configuration.
func DiagnosticsToProto(ds []consensus.Diagnostic) []*consensuspb.Diagnostic {
	return each(ds, func(d consensus.Diagnostic) *consensuspb.Diagnostic {
		return &consensuspb.Diagnostic{Error: !d.Warning, Path: d.Path, Message: d.Message}
	})
}

// DiagnosticsFromProto is the reverse of DiagnosticsToProto.
func DiagnosticsFromProto(ps []*consensuspb.Diagnostic) []consensus.Diagnostic {
	return each(ps, func(p *consensuspb.Diagnostic) consensus.Diagnostic {
		return consensus.Diagnostic{Warning: !p.GetError(), Path: p.GetPath(), Message: p.GetMessage()}
	})
}

// each translates a slice; an empty one gives nil.
func each[A, B any](as []A, f func(A) B) []B {
	if len(as) == 0 {
		return nil
	}
	bs := make([]B, len(as))
	for i, a := range as {
		bs[i] = f(a)
	}
	return bs
}
