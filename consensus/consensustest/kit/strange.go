package kit

import (
	"context"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/quorate/quorate/consensus/consensuspb"
)

// strangeFields are what a later minor version of the contract might add: one
// field of every wire type.
var strangeFields = func() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 20001, protowire.VarintType), 1<<63)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 20002, protowire.Fixed32Type), 7)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 20003, protowire.Fixed64Type), 7)
	return protowire.AppendBytes(protowire.AppendTag(b, 20004, protowire.BytesType), []byte("of a later version"))
}()

// strange returns a copy of m with strange fields, in the messages inside as well.
func strange(m proto.Message) proto.Message {
	m = proto.Clone(m)
	estrange(m.ProtoReflect())
	return m
}

func estrange(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				estrange(v.List().Get(i).Message())
			}
		default:
			estrange(v.Message())
		}
		return true
	})
	m.SetUnknown(append(m.GetUnknown(), strangeFields...))
}

// ours tells the contract's calls from go-plugin's.
func ours(method string) bool {
	return strings.HasPrefix(method, "/"+consensuspb.Consensus_ServiceDesc.ServiceName+"/")
}

// dial is how the replica is reached.
func (l Launch) dial() []grpc.DialOption {
	if !l.Strange {
		return nil
	}
	unary := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if m, ok := req.(proto.Message); ok && ours(method) {
			req = strange(m)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	stream := func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		s, err := open(ctx, d, cc, method, opts...)
		if err != nil || !ours(method) {
			return s, err
		}
		return strangeStream{s}, nil
	}
	return []grpc.DialOption{grpc.WithChainUnaryInterceptor(unary), grpc.WithChainStreamInterceptor(stream)}
}

type strangeStream struct{ grpc.ClientStream }

// SendMsg implements grpc.ClientStream.
func (s strangeStream) SendMsg(m any) error {
	if p, ok := m.(proto.Message); ok {
		m = strange(p)
	}
	return s.ClientStream.SendMsg(m)
}
