package coordinator

import "time"

// round runs an event and those that wait behind it, and appends what they
// wrote as one batch.
func (s *Shard[M]) round(ev Event[M]) {
	s.event(ev)
	for range min(len(s.mailbox), s.cfg.MailboxLength) {
		s.event(<-s.mailbox) // nobody else takes from it
	}
	s.flush()
}

func (s *Shard[M]) event(ev Event[M]) {
	s.settle(ev.Key)
	switch {
	case s.serves():
		m := s.term.machine
		s.turn(ev.Key, func(t *Turn) { ev.Run(m, t) })
	case s.leads():
		ev.Refuse(ErrLoading)
	default:
		ev.Refuse(ErrNotCoordinator)
	}
}

// fire runs the timers that are due.
func (s *Shard[M]) fire() {
	now := time.Now()
	for s.serves() {
		timer := s.term.timers.due(now)
		if timer == nil {
			break
		}
		s.settle(timer.key)
		if s.serves() {
			s.turn(timer.key, timer.run)
		}
	}
	s.flush()
}

// settle makes sure that an event with this key sees what those before it wrote:
// records are in the machine only once they are in the log.
func (s *Shard[M]) settle(key string) {
	if !s.serves() || len(s.term.batch) == 0 {
		return
	}
	_, same := s.term.batchKeys[key]
	_, all := s.term.batchKeys[""]
	if same || all || key == "" {
		s.flush()
	}
}

// turn runs one event. The term is serving.
func (s *Shard[M]) turn(key string, run func(*Turn)) {
	t := s.term
	turn := &Turn{Now: time.Now(), key: key}
	run(turn)
	if len(turn.records) == 0 {
		call(turn.applied, nil)
		t.answer(turn, s.cfg.WriteTimeout)
		s.await()
		return
	}
	if t.batchSize > 0 && t.batchSize+turn.size > s.cfg.MaxBatchBytes {
		s.flush()
		if s.term != t { // the turn was decided in a term that is over
			call(turn.applied, ErrUncertain)
			call(turn.committed, ErrUncertain)
			return
		}
	}
	t.batch = append(t.batch, turn)
	t.batchKeys[key] = struct{}{}
	t.batchSize += turn.size
}

// flush appends what the turns since the last flush wrote, and replays it.
func (s *Shard[M]) flush() {
	t := s.term
	if t == nil || len(t.batch) == 0 {
		return
	}
	end, err := t.partition.Append(t.epoch, t.build())
	if err != nil {
		s.refuse(err)
		return
	}
	turns := t.take()
	t.allEnd = end
	for i, turn := range turns {
		if err := t.replay(turn); err != nil { // the machine cannot read what it wrote
			t.batch = turns[i:]
			s.fail("a record cannot be replayed", err, ErrUncertain)
			return
		}
		t.unsettled[turn.key] = end
		call(turn.applied, nil)
		t.park(turn, end, s.cfg.WriteTimeout)
	}
	s.await()
}

// refuse answers the batch that the partition did not take.
func (s *Shard[M]) refuse(err error) {
	switch judgeAppend(err) {
	case deposed:
		s.fail("the partition has another leader", err, ErrNotCoordinator)
	case uncertain:
		s.fail("it is not known what of an append is in the log", err, ErrUncertain)
	case refused:
		s.log.Debug("the partition refused a batch", "error", err)
		for _, turn := range s.term.take() {
			call(turn.applied, answerFor(err))
			call(turn.committed, answerFor(err))
		}
	}
}

// build makes the batch. It is the term's own until the next one.
func (t *term[M]) build() []byte {
	t.builder.Reset()
	for _, turn := range t.batch {
		for _, r := range turn.records {
			t.builder.Add(turn.Now.UnixMilli(), r.key, r.value)
		}
	}
	return t.builder.Bytes()
}

func (t *term[M]) take() []*Turn {
	turns := t.batch
	t.batch, t.batchSize = nil, 0
	clear(t.batchKeys)
	return turns
}

func (t *term[M]) replay(turn *Turn) error {
	for _, r := range turn.records {
		if err := t.machine.Replay(r.key, r.value); err != nil {
			return err
		}
	}
	return nil
}
