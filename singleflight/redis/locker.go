package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ringfence/singleflight"
)

var (
	// ErrPrivate is what Lead returns where the key's responses are known not
	// to be shared: each goes alone. It is a singleflight.ErrRelease.
	ErrPrivate = fmt.Errorf("redis: not to be shared: %w", singleflight.ErrRelease)
	// ErrFailed is what Lead returns, as final, where fills of other instances
	// have failed a moment ago.
	ErrFailed = errors.New("redis: fills of other instances failed a moment ago")
	// ErrAborted ends a body that another instance could not get whole.
	ErrAborted = errors.New("redis: the body was cut short at another instance")
	// ErrChanged ends a body whose fill was lost, where the next fill gave
	// something else than what readers have been given already.
	ErrChanged = errors.New("redis: another response than the one begun with")
	// ErrSilent ends a body of which nothing came for Options.Silence.
	ErrSilent = errors.New("redis: the leading instance is silent")
)

// Key is what a flight is called in the whole fleet.
type Key struct {
	// Name is the same for all variants of a response.
	Name string
	// Variant tells apart the variants of a name; "" where it has none, or the
	// caller does not know yet by what to tell them apart. What was filled for
	// the name alone and turned out to be a variant is found under that, too.
	Variant string
}

// Head is what other instances are to know of a head.
type Head struct {
	// Variant is Key.Variant of what was filled, now that it is known.
	Variant string
	// Bytes are handed to their Decode as they are.
	Bytes []byte
	// Identity is the same for two heads only if a reader that was given the
	// beginning of one body may be given the rest of the other, as far as the
	// heads tell: for HTTP that is status, length and validators. The bytes
	// themselves are compared as well.
	Identity uint64
	// Length is the body's, -1 where it is not known. One above
	// Options.MaxObject is not published: each instance fetches it itself.
	Length int64
	// Body, where it is not nil, is published in place of what the fill writes,
	// which is nothing: what was filled is here already, a stored object that
	// was confirmed, say.
	Body []byte
	// Keep is for how long the whole object is to be found by others; 0 or
	// less: only by those who wait for it.
	Keep time.Duration
}

// Stored is a head as another instance published it.
type Stored struct {
	Bytes  []byte
	Length int64         // of the body, -1 where it is not known
	Age    time.Duration // since its Encode
	// Born is the tier's clock, see Tier, before which the fill had not begun.
	// Where a tag of the object was invalidated later, Decode must refuse it.
	// Without a Tier it is the greatest value.
	Born uint64
}

// Codec turns heads into bytes and back. Its methods are called by the
// goroutines of flights and must not block.
type Codec[H any] interface {
	// Encode is called once per published fill, by the goroutine that publishes
	// it. A head whose verdict is Private is not asked for.
	Encode(h H) Head
	// Decode gives the head that readers here will see. An error says that it
	// is of no use, being stale, invalidated or of a form not known here: it is
	// filled anew and replaced.
	Decode(s Stored) (H, error)
	// Keep is called when the body of a decoded head has come whole and others
	// may find it, too; the flight can be joined until it returns. body may be
	// kept and must not be changed.
	Keep(h H, body []byte)
}

// Locker extends flights to the other instances of the fleet. Its methods may
// be called by many goroutines at once. It must be closed.
type Locker[H any] struct {
	e *Engine
	// apart is for fills whose bytes are compared with what readers have been
	// given already.
	apart *singleflight.Group[H]
}

// NewLocker makes a Locker on an engine, which it does not own. o is for the
// fills that begin after a body was lost half way: limits, ReadWait and OnPanic
// should be those of the group that the Locker serves; what it says of
// elections and failures does not count.
func NewLocker[H any](e *Engine, o singleflight.Options[H]) *Locker[H] {
	o.Elections, o.FailureMemory = -1, -1
	return &Locker[H]{e: e, apart: singleflight.New(o)}
}

// Reconfigure is that of singleflight's Group.
func (l *Locker[H]) Reconfigure(o singleflight.Options[H]) {
	o.Elections, o.FailureMemory = -1, -1
	l.apart.Reconfigure(o)
}

// Close waits for fills as singleflight.Group's Close does. It comes after the
// Close of the group that the Locker serves, and before the engine's.
func (l *Locker[H]) Close(ctx context.Context) error { return l.apart.Close(ctx) }

// Lead fills w for key, which all instances must name alike, in one of three
// ways: with an object that the fleet has or another instance is filling at the
// moment; by calling fill under the key's lease, whose result others then find
// and follow; or by calling fill alone, where the engine is away, too slow or
// overloaded, or where the response is known to be too large for it. It is
// called by the fill of a flight, with its ctx and Writer, so that each request
// brings its own codec and looks into its own tiers first.
//
// It returns fill's error, or singleflight.ErrRelease and others of this
// package, or one of w's.
func (l *Locker[H]) Lead(ctx context.Context, key Key, w *singleflight.Writer[H], fill singleflight.Fill[H], codec Codec[H]) error {
	n := l.e.node(key.Name)
	if n == nil {
		l.e.n.fallbacks.Add(1)
		return fill(ctx, w)
	}
	if l.e.leads.Add(1) > int64(l.e.o.MaxLeases) {
		l.e.leads.Add(-1)
		l.e.n.overloads.Add(1)
		l.e.n.fallbacks.Add(1)
		return fill(ctx, w)
	}
	defer l.e.leads.Add(-1)
	f := &flight[H]{l: l, n: n, own: l.e.logKey(key), w: w, fill: fill, codec: codec, attempt: 1}
	if key.Variant != "" {
		f.plain, f.variant = l.e.logKey(Key{Name: key.Name}), variantTag(key.Variant)
	}
	f.out.w = w
	return f.run(ctx)
}
