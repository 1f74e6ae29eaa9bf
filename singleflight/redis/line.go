package redis

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A node keeps a line of invalidations, numbered from 1, of which the last
// lineLimit can be read. An instance applies them in order; what it fills is
// marked with the number that it had applied when the fill began.

const (
	lineLimit = 8192
	// historyLimit is how many of the last numbers this instance can say the
	// tier's clock of.
	historyLimit = 8192
)

// position is a place in a line, which is known by a random number.
type position struct {
	line, at uint64
}

// An invalidation is acknowledged when it is on the lines of all nodes and all
// who live have applied it from there. So an instance has all that was
// acknowledged as long as it follows one line without a gap, and what lies in a
// node is as good as that node's line says, whatever became of other nodes.

// line is how far this instance has followed a node's line.
type line struct {
	keys []string
	tier Tier

	mu      sync.RWMutex
	synced  time.Time // when it was last asked for what is new, and there was nothing
	applied position  // line 0: never synchronized
	first   uint64    // number of clocks[0]
	clocks  []uint64  // of the tier, after each number was applied
}

func newLine(prefix string, tier Tier) line {
	return line{keys: []string{prefix + formatVersion + "{line}line", prefix + formatVersion + "{line}members"}, tier: tier}
}

func (l *line) position() position {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.applied
}

// clock is what the tier's clock has to be compared with for what was born at
// a position: what it was when this instance had come there. What lies further
// back than can be said, or on another line, is not ok. What lies ahead was
// born after all that this instance knows of.
func (l *line) clock(p position) (clock uint64, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if p.line != l.applied.line || p.at < l.first {
		return 0, false
	}
	return l.clocks[min(p.at, l.applied.at)-l.first], true
}

// begin starts over at a position.
func (l *line) begin(p position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied, l.first, l.clocks = p, p.at, append(l.clocks[:0], l.now())
}

// catchUp says that at a time there was nothing new on the line.
func (l *line) catchUp(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.synced = at
}

// isWhole reports whether at a time this instance had all that was acknowledged
// by then: nothing is, without it, for instanceTTL after it was last heard.
func (l *line) isWhole(at time.Time) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.applied.line != 0 && at.Sub(l.synced) <= instanceTTL
}

// outlive has what was born at the line's end count although the tier has just
// been dropped.
func (l *line) outlive() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.clocks); n > 0 {
		l.clocks[n-1] = l.now()
	}
}

// dropUnlessWhole drops what the tier has where at a time some of what was
// acknowledged may never be heard of, from the lines of all nodes but one.
func (e *Engine) dropUnlessWhole(at time.Time, but *node) {
	if e.o.Tier == nil || slices.ContainsFunc(e.nodes, func(n *node) bool { return n != but && n.line.isWhole(at) }) {
		return
	}
	e.o.Tier.Drop()
	for _, n := range e.nodes {
		n.line.outlive()
	}
}

// apply does what one invalidation says.
func (l *line) apply(at uint64, tags []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tier != nil {
		l.tier.Apply(tags)
	}
	l.applied.at = at
	if len(l.clocks) == historyLimit {
		l.clocks = append(l.clocks[:0], l.clocks[historyLimit/2:]...)
		l.first += historyLimit / 2
	}
	l.clocks = append(l.clocks, l.now())
}

func (l *line) now() uint64 {
	if l.tier == nil {
		return 0
	}
	return l.tier.Now()
}

// sync applies what is new on the node's line and confirms it.
func (n *node) sync(ctx context.Context, l *link) error {
	for {
		was, asked := n.line.position(), time.Now()
		v, err := n.beat(ctx, l, was, instanceTTL)
		if err != nil {
			return err
		}
		now, lost, entries, err := parseSync(v)
		if err != nil {
			n.e.n.badValues.Add(1)
			return err
		}
		switch {
		case was.line == 0:
			// What was filled alone until now may have been struck since.
			n.e.dropUnlessWhole(asked, n)
			n.line.begin(now)
		case lost:
			n.e.dropUnlessWhole(asked, n)
			n.line.begin(now)
		case was.line != now.line: // the engine has lost its data
			n.e.dropUnlessWhole(asked, nil)
			n.line.begin(position{line: now.line})
		}
		for _, entry := range entries {
			n.line.apply(entry.at, entry.tags)
		}
		// What was done just now is confirmed by the next round.
		if len(entries) == 0 && !lost && (was.line == now.line || was.line == 0) {
			n.line.catchUp(asked)
			return nil
		}
	}
}

// beat asks what is new after a position and says that this instance lives,
// for that long.
func (n *node) beat(ctx context.Context, l *link, p position, ttl time.Duration) (value, error) {
	return n.ask(ctx, l, 0, scriptSync, n.line.keys, []string{n.e.id, number(p.line), number(p.at), number(newLineID()), millis(ttl)})
}

// newLineID is never 0, which stands for none.
func newLineID() uint64 { return rand.Uint64()>>1 | 1 }

type invalidation struct {
	at   uint64
	tags []string
}

func parseSync(v value) (now position, lost bool, entries []invalidation, err error) {
	now.line, err = strconv.ParseUint(v.at(0).s, 10, 64)
	if err != nil {
		return now, false, nil, fmt.Errorf("redis: line: %w", errBadValue)
	}
	if now.at, err = strconv.ParseUint(v.at(1).s, 10, 64); err != nil {
		return now, false, nil, fmt.Errorf("redis: line: %w", errBadValue)
	}
	for _, e := range v.at(3).list {
		id, _, _ := strings.Cut(e.at(0).s, "-")
		at, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return now, false, nil, fmt.Errorf("redis: line: %w", errBadValue)
		}
		tags, err := unpackTags(e.at(1).at(1).s)
		if err != nil {
			return now, false, nil, err
		}
		entries = append(entries, invalidation{at, tags})
	}
	return now, v.at(2).n == 1, entries, nil
}

// packTags joins tags, each behind its length.
func packTags(tags []string) string {
	var b []byte
	for _, t := range tags {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	return string(b)
}

func unpackTags(s string) ([]string, error) {
	var tags []string
	for b := []byte(s); len(b) > 0; {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return nil, fmt.Errorf("redis: tags: %w", errBadValue)
		}
		tags = append(tags, string(b[w:w+int(n)]))
		b = b[w+int(n):]
	}
	return tags, nil
}

// hear has the node's goroutine look at the line as soon as something is new.
func (n *node) hear(ctx context.Context, b backend) {
	for ctx.Err() == nil {
		if l := n.link.Load(); l != nil {
			_ = b.listen(ctx, n.line.keys[0], n.poke, n.poke) // lost: the beat goes on, and the next round listens again
		}
		t := time.NewTimer(jitter(probeEvery))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

func number(n uint64) string        { return strconv.FormatUint(n, 10) }
func millis(d time.Duration) string { return strconv.FormatInt(int64(d/time.Millisecond), 10) }
