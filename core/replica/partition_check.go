package replica

import "github.com/quorate/quorate/protocol"

// CheckSize says at once what Append would say of a batch of so many bytes, so that
// one that is too large need not be read.
func (p *Partition) CheckSize(bytes int) error {
	l, err := p.leading(-1)
	if err != nil {
		return err
	}
	if limit := l.settings.maxMessageBytes; limit > 0 && bytes > limit {
		return protocol.Errorf(protocol.MessageTooLarge, "records of %d bytes are larger than max.message.bytes, %d", bytes, limit)
	}
	return nil
}
