package controller

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/quorate/quorate/protocol"
)

// indexTag is the tagged field of a response that holds the metadata index which
// the answer stands on, big endian, eight bytes. Kafka has no such tag; brokers
// of this kind read it, all others skip it.
const indexTag = 10000

// reasonTag is the tagged field of a refused registration that says why in words:
// Kafka's answer has a code only.
const reasonTag = 10001

// reasonOf returns the words, "" if there are none.
func reasonOf(tags *kmsg.Tags) (reason string) {
	tags.Each(func(tag uint32, value []byte) {
		if tag == reasonTag {
			reason = string(value[:min(len(value), 4096)])
		}
	})
	return reason
}

// decisionTimeout bounds how long the controller works for another broker, which
// may have given up long ago.
const decisionTimeout = 30 * time.Second

// seal puts a request in an Envelope.
func seal(req kmsg.Request) *kmsg.EnvelopeRequest {
	e := kmsg.NewPtrEnvelopeRequest()
	e.RequestData = protocol.AppendRequest(nil, protocol.RequestHeader{}, req)[lengthBytes:]
	return e
}

// lengthBytes is the length that frames begin with on a socket, and not in an Envelope.
const lengthBytes = 4

// open takes the answer to req, and the index, out of an Envelope.
func open(e *kmsg.EnvelopeResponse, req kmsg.Request) (kmsg.Response, uint64, error) {
	switch code := protocol.ErrorCode(e.ErrorCode); code {
	case protocol.None:
	case protocol.NotController:
		return nil, 0, errNotController()
	default:
		return nil, 0, protocol.Errorf(code, "the controller refused the request")
	}
	resp, err := protocol.ParseResponse(e.ResponseData, req)
	if err != nil {
		return nil, 0, fmt.Errorf("answer in an Envelope: %w", err)
	}
	return resp, readIndex(&e.UnknownTags), nil
}

// HandleForwarded answers an Envelope (key 58) that another broker's Do sent. An
// error code in the Envelope means that the request in it was not answered.
func (c *Client) HandleForwarded(ctx context.Context, e *kmsg.EnvelopeRequest) *kmsg.EnvelopeResponse {
	out := kmsg.NewPtrEnvelopeResponse()
	out.SetVersion(e.Version)
	header, req, err := unseal(e.RequestData)
	if err != nil {
		c.log.Warn("forwarded request refused", "error", err)
		out.ErrorCode = int16(protocol.InvalidRequest)
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, decisionTimeout)
	defer cancel()
	resp, index, err := c.controller.Handle(ctx, req)
	if err != nil {
		out.ErrorCode = c.codeOf(err, req)
		return out
	}
	out.ResponseData = protocol.AppendResponse(nil, header, resp)[lengthBytes:]
	writeIndex(&out.UnknownTags, index)
	return out
}

// unseal takes the request out of an Envelope. Only what clients may ask of a
// controller is let through: a broker's own requests do not come this way.
func unseal(data []byte) (protocol.RequestHeader, kmsg.Request, error) {
	header, body, err := protocol.ParseHeader(data)
	if err != nil {
		return header, nil, err
	}
	req, err := protocol.ParseRequest(header, body)
	if err != nil {
		return header, nil, err
	}
	switch req.(type) {
	case *kmsg.CreateTopicsRequest, *kmsg.DeleteTopicsRequest, *kmsg.CreatePartitionsRequest,
		*kmsg.IncrementalAlterConfigsRequest, *kmsg.AlterConfigsRequest,
		*kmsg.AlterPartitionAssignmentsRequest, *kmsg.UnregisterBrokerRequest:
		return header, req, nil
	}
	return header, nil, fmt.Errorf("%s is not forwarded", kmsg.NameForKey(header.Key))
}

// HandleDirect answers a broker's own request (AlterPartition,
// BrokerRegistration, BrokerHeartbeat, AllocateProducerIDs) that its Do sent here.
func (c *Client) HandleDirect(ctx context.Context, req kmsg.Request) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, decisionTimeout)
	defer cancel()
	resp, index, err := c.controller.Handle(ctx, req)
	if err != nil {
		resp = req.ResponseKind()
		setVerdict(resp, c.codeOf(err, req))
		return resp
	}
	setVerdictIndex(resp, index)
	return resp
}

// codeOf is the code for err; what has none of its own is logged, because the
// code says nothing.
func (c *Client) codeOf(err error, req kmsg.Request) int16 {
	code := protocol.CodeOf(err)
	if code == protocol.UnknownServerError {
		c.log.Error("decision failed", "request", kmsg.NameForKey(req.Key()), "error", err)
	}
	return int16(code)
}

// verdict returns the error code and the index of the answer to a broker's own
// request.
func verdict(resp kmsg.Response) (protocol.ErrorCode, uint64) {
	code, tags := parts(resp)
	if code == nil {
		return protocol.None, 0
	}
	return protocol.ErrorCode(*code), readIndex(tags)
}

func setVerdict(resp kmsg.Response, code int16) {
	if p, _ := parts(resp); p != nil {
		*p = code
	}
}

func setVerdictIndex(resp kmsg.Response, index uint64) {
	if _, tags := parts(resp); tags != nil {
		writeIndex(tags, index)
	}
}

// parts returns the fields that the answers to brokers' own requests share.
func parts(resp kmsg.Response) (code *int16, tags *kmsg.Tags) {
	switch resp := resp.(type) {
	case *kmsg.AlterPartitionResponse:
		return &resp.ErrorCode, &resp.UnknownTags
	case *kmsg.BrokerRegistrationResponse:
		return &resp.ErrorCode, &resp.UnknownTags
	case *kmsg.BrokerHeartbeatResponse:
		return &resp.ErrorCode, &resp.UnknownTags
	case *kmsg.AllocateProducerIDsResponse:
		return &resp.ErrorCode, &resp.UnknownTags
	}
	return nil, nil
}

func writeIndex(tags *kmsg.Tags, index uint64) {
	tags.Set(indexTag, binary.BigEndian.AppendUint64(nil, index))
}

func readIndex(tags *kmsg.Tags) (index uint64) {
	tags.Each(func(tag uint32, value []byte) {
		if tag == indexTag && len(value) == 8 {
			index = binary.BigEndian.Uint64(value)
		}
	})
	return index
}
