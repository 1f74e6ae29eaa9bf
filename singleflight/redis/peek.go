package redis

import (
	"context"
	"encoding/binary"
	"math"
	"time"
)

// Found is what the fleet has of a key. The set is closed.
type Found uint8

const (
	// FoundNothing: no log, or one of no use: who asks takes the lease.
	FoundNothing Found = iota
	// FoundFill: an instance is filling it at the moment.
	FoundFill
	// FoundWhole: the object is there.
	FoundWhole
	// FoundPrivate: its responses are known not to be shared.
	FoundPrivate
)

// Peeked is what [Engine.Peek] has found.
type Peeked struct {
	Found Found
	// Stored is the head, where there is one; only that of FoundWhole is to be
	// relied on.
	Stored Stored
	// Node is the address of the node that the key is placed on, and Left how long
	// the log has to live.
	Node string
	Left time.Duration
}

// Peek reads what the fleet has of a key, and changes nothing: it takes no lease,
// follows no fill, and what comes of it says nothing of the node's health. It
// waits for one Options.Timeout at most. The error says that the engine is away,
// or that it has not answered.
func (e *Engine) Peek(ctx context.Context, key Key) (p Peeked, err error) {
	n := e.node(key.Name)
	if n == nil {
		return p, errDown
	}
	link := n.link.Load()
	if link == nil {
		return p, errDown
	}
	logs, variant := []string{e.logKey(key)}, uint64(0)
	if key.Variant != "" {
		logs, variant = append(logs, e.logKey(Key{Name: key.Name})), variantTag(key.Variant)
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.Timeout)
	defer cancel()
	v, err := link.eval(ctx, scriptPeek, logs, []string{string(binary.LittleEndian.AppendUint64(nil, variant))})
	if err != nil {
		return p, err
	}
	p.Node = n.name
	if v.at(0).n == 0 {
		return p, nil
	}
	p.Left = time.Duration(v.at(2).n) * time.Millisecond
	since, _ := time.ParseDuration(v.at(3).s + "us") // 0 for a foreign log, whose entries will not pass
	log := logs[min(max(v.at(0).n-1, 0), int64(len(logs)-1))]
	n.readPeeked(&p, log, v.at(1).s, since, v.at(4).list, v.at(5).at(0))
	return p, nil
}

// readPeeked says what the first entries of a log and its last one come to.
func (n *node) readPeeked(p *Peeked, log, first string, since time.Duration, entries []value, last value) {
	all, err := items(log, first, 0, entries)
	if err != nil || len(all) == 0 {
		return
	}
	o, err := decodeOpening(all[0].payload)
	if err != nil {
		return
	}
	p.Found = FoundFill
	end := kind(0)
	if field := last.at(1).at(0).s; len(field) == 1 && last.at(0).s != first {
		end = kind(field[0])
	}
	switch end {
	case kindStop:
		p.Found = FoundNothing
		payload, err := unseal(log, kindStop, last.at(1).at(1).s)
		if s, bad := decodeStop(payload); err == nil && bad == nil && s == stopPrivate {
			p.Found = FoundPrivate
		}
		return
	case kindEnd:
		p.Found = FoundNothing // unless its head can be read
	}
	if len(all) < 2 || all[1].kind != kindHead {
		return
	}
	h, err := decodeHeading(all[1].payload)
	born, ok := uint64(math.MaxUint64), true
	if n.e.o.Tier != nil {
		born, ok = n.line.clock(o.born)
	}
	if err != nil || !ok {
		return
	}
	p.Stored = Stored{Bytes: h.bytes, Length: h.length, Age: max(since-h.after, 0), Born: born}
	if end == kindEnd && h.keep > 0 {
		p.Found = FoundWhole
	}
}
