package wire

import (
	"github.com/quorate/quorate/consensus"
	"github.com/quorate/quorate/consensus/consensuspb"
)

// ProposalToProto translates a proposal; Data is shared.
func ProposalToProto(p consensus.Proposal) *consensuspb.ProposeRequest {
	return &consensuspb.ProposeRequest{
		GroupId: uint64(p.Group), ExpectedTerm: p.Term, Sequence: p.Sequence, Data: p.Data,
	}
}

// ProposalFromProto is the reverse of ProposalToProto.
func ProposalFromProto(p *consensuspb.ProposeRequest) consensus.Proposal {
	return consensus.Proposal{
		Group: consensus.GroupID(p.GetGroupId()), Term: p.GetExpectedTerm(), Sequence: p.GetSequence(), Data: p.GetData(),
	}
}

// ResultToProto translates the answer to a proposal.
func ResultToProto(r consensus.Result) *consensuspb.Result {
	p := &consensuspb.Result{Outcome: consensuspb.Outcome_OUTCOME_UNKNOWN, Error: ErrorToProto(r.Err)}
	switch r.Outcome {
	case consensus.Committed:
		p.Outcome, p.Index = consensuspb.Outcome_OUTCOME_COMMITTED, r.Index
	case consensus.Rejected:
		p.Outcome = consensuspb.Outcome_OUTCOME_REJECTED
	case consensus.Unknown:
	}
	return p
}

// ResultFromProto is the reverse of ResultToProto. An outcome that is not known
// is Unknown.
func ResultFromProto(p *consensuspb.Result) consensus.Result {
	r := consensus.Result{Err: ErrorFromProto(p.GetError())}
	switch p.GetOutcome() {
	case consensuspb.Outcome_OUTCOME_COMMITTED:
		r.Outcome, r.Index = consensus.Committed, p.GetIndex()
	case consensuspb.Outcome_OUTCOME_REJECTED:
		r.Outcome = consensus.Rejected
	default:
		r.Outcome = consensus.Unknown
	}
	return r
}

// BatchToProto translates committed entries; Data is shared.
func BatchToProto(b consensus.Batch) *consensuspb.EntryBatch {
	return &consensuspb.EntryBatch{Entries: each(b.Entries, entryToProto), CommitIndex: b.Commit}
}

// BatchFromProto is the reverse of BatchToProto.
func BatchFromProto(p *consensuspb.EntryBatch) consensus.Batch {
	return consensus.Batch{Entries: each(p.GetEntries(), entryFromProto), Commit: p.GetCommitIndex()}
}

func entryToProto(e consensus.Entry) *consensuspb.Entry {
	if e.Internal {
		return &consensuspb.Entry{Index: e.Index, Term: e.Term, Kind: consensuspb.EntryKind_ENTRY_KIND_INTERNAL}
	}
	return &consensuspb.Entry{Index: e.Index, Term: e.Term, Kind: consensuspb.EntryKind_ENTRY_KIND_DATA, Data: e.Data}
}

// entryFromProto takes only DATA for a proposal: a kind that is not known is the
// backend's own.
func entryFromProto(p *consensuspb.Entry) consensus.Entry {
	if p.GetKind() != consensuspb.EntryKind_ENTRY_KIND_DATA {
		return consensus.Entry{Index: p.GetIndex(), Term: p.GetTerm(), Internal: true}
	}
	return consensus.Entry{Index: p.GetIndex(), Term: p.GetTerm(), Data: p.GetData()}
}
