package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
	"ringfence/proxy/wire"
	"ringfence/singleflight"
	"ringfence/singleflight/redis"
)

// fleet is what this instance shares with others: an engine, and the fills that
// go through it.
type fleet struct {
	engine *redis.Engine
	locker *redis.Locker[*head]
}

// joinFleet connects a handler to the engine that o describes, in the
// background.
func (h *Handler) joinFleet(o redis.Options, flights singleflight.Options[*head]) error {
	o.Tier = tier{h}
	o.PrivateMemory = h.snap.Load().UncacheableTTL
	o.OnNode = func(address string, up bool, err error) {
		if up {
			h.log.Info("the fleet's engine is in use", "node", address)
			return
		}
		h.log.Warn("the fleet's engine is away: instances fill by themselves", "node", address, "error", err)
	}
	engine, err := redis.Open(o)
	if err != nil {
		return err
	}
	h.fleet = &fleet{engine: engine, locker: redis.NewLocker(engine, flights)}
	return nil
}

// close ends what joinFleet began, once no fill goes through it any more.
func (f *fleet) close(ctx context.Context) error {
	if f == nil {
		return nil
	}
	err := f.locker.Close(ctx)
	f.engine.Close()
	return err
}

// tier applies the fleet's invalidations to the handler's own store.
type tier struct{ h *Handler }

// Apply implements redis.Tier. A tag is an encoded strike. What cannot be read,
// being a later version's, is taken for everything.
func (t tier) Apply(tags []string) {
	now := time.Now()
	for _, tag := range tags {
		x, ok := decodeStrike(tag)
		if !ok {
			x = strike{left: memory.Nothing}
		}
		t.h.struck.apply(x, now)
	}
}

// Drop implements redis.Tier.
func (t tier) Drop() { t.h.struck.apply(strike{left: memory.Nothing}, time.Now()) }

// Now implements redis.Tier.
func (t tier) Now() uint64 { return t.h.struck.Now() }

// errOfNoUse says that what the fleet has does not answer the request.
var errOfNoUse = errors.New("of no use to this request")

// shared is the codec of one fill: what it tells other instances of a head, and
// what it makes of theirs.
type shared struct {
	j       *job
	began   time.Time
	decoded *head // the last one that readers may have been given
}

// lead fills w from the fleet, or for it.
func (f *fleet) lead(ctx context.Context, j *job, w *singleflight.Writer[*head]) error {
	s := &shared{j: j, began: time.Now()}
	err := f.locker.Lead(ctx, j.key.fleetKey(j.fields), w, j.ask, s)
	if s.decoded != nil {
		s.decoded.whole.end(nil) // it was not kept
	}
	if errors.Is(err, redis.ErrPrivate) {
		j.markUncacheable(cache.None)
	}
	return err
}

// Encode implements redis.Codec.
func (s *shared) Encode(hd *head) redis.Head {
	m, length, variant, body := &hd.meta, hd.length, hd.variant, []byte(nil)
	if hd.entry != nil {
		// A body of no bytes is one as well.
		m, body, variant = &hd.entry.Meta, hd.entry.Body[:len(hd.entry.Body):len(hd.entry.Body)], hd.entry.variant
		length = int64(len(body))
	}
	now := time.Now()
	out := redis.Head{
		Variant:  variant,
		Bytes:    encodeHead(m.Status, m.Age(now), variant, m.Fields),
		Identity: identityOf(m, length),
		Length:   max(length, wire.Chunked),
		Body:     body,
	}
	if hd.reason == cache.None {
		out.Keep = m.KeepFor(now)
	}
	return out
}

// identityOf is the same for two responses of which one may go on where the
// other ended.
func identityOf(m *cache.Meta, length int64) uint64 {
	b := strconv.AppendInt(nil, int64(m.Status), 10)
	b = strconv.AppendInt(append(b, ' '), max(length, wire.Chunked), 10)
	b = appendPart(b, m.ETag)
	b = appendPart(b, m.LastModified)
	coding, _ := m.Fields.Joined("Content-Encoding")
	return xxhash.Sum64(appendPart(b, coding))
}

// Decode implements redis.Codec.
func (s *shared) Decode(st redis.Stored) (*head, error) {
	j, now := s.j, time.Now()
	f, err := readForeign(st, &j.route.Policy, j.rq, now)
	if err != nil {
		return nil, err
	}
	hd := &head{
		length: st.Length, born: min(st.Born, j.born), variant: f.variant, copied: true,
		whole: &whole{ended: make(chan struct{})}, meta: f.meta, reason: f.reason, tags: tagsOf(j.target, &f.meta),
	}
	if hd.born < j.h.struck.last(&j.key, hd.tags).Latest() {
		return nil, errOfNoUse
	}
	// What was asked for after this request came is as good as an answer of its
	// own; what is older must be what Decide would serve.
	hd.stored = st.Age > now.Sub(s.began)
	switch {
	case !hd.stored:
	case j.renewal && j.found != nil && f.age >= j.found.Age(now)-time.Second, !f.serves(j.rq, now):
		return nil, errOfNoUse
	}
	if hd.reason == cache.None {
		j.h.rememberVary(&j.key, hd.meta.Vary)
	}
	j.found.noteAttempt(cache.FailsUpstream(hd.meta))
	hd.heading = j.heading(hd.meta.Fields)
	s.decoded = hd
	return hd, nil
}

// foreign is a response that another instance published, as this one judges it.
type foreign struct {
	meta    cache.Meta
	reason  cache.Reason
	age     time.Duration
	variant string
}

func readForeign(st redis.Stored, p *cache.Policy, rq cache.Request, now time.Time) (f foreign, err error) {
	status, age, variant, fields, err := decodeHead(string(st.Bytes))
	if err != nil {
		return f, err
	}
	f.age, f.variant = age+st.Age, variant
	fields = append(fields, wire.Field{Name: "Age", Value: strconv.FormatInt(int64((f.age+time.Second-1)/time.Second), 10)})
	f.meta, f.reason = cache.Assess(p, rq, status, fields, now, now)
	return f, nil
}

// serves reports whether it answers the request as if it had been stored here.
func (f *foreign) serves(rq cache.Request, now time.Time) bool {
	return f.reason == cache.None && cache.Decide(&cache.Object{Meta: f.meta}, rq, now).Action == cache.Serve
}

// Keep implements redis.Codec. Another variant than the request's is left to
// those who ask for it.
func (s *shared) Keep(hd *head, body []byte) {
	hd.whole.end(body)
	if hd.reason != cache.None || !s.j.selects(hd) {
		return
	}
	if err := s.j.keep(hd.meta, body, hd.born, 0); err != nil {
		s.j.h.log.Warn("a response of the fleet was not stored", "target", s.j.target.raw, "error", err)
	}
}

// selects reports whether a response is the variant that the job's request
// selects.
func (j *job) selects(hd *head) bool {
	return string(cache.AppendVariant(nil, hd.meta.Vary, j.fields)) == hd.variant
}

// encodeHead returns a head in the form in which instances exchange it.
func encodeHead(status int, age time.Duration, variant string, fields wire.Fields) []byte {
	dst := binary.AppendUvarint(nil, uint64(status))
	dst = binary.AppendUvarint(dst, uint64(max(age, 0)))
	dst = appendPart(dst, variant)
	for _, f := range fields {
		dst = appendPart(appendPart(dst, f.Name), f.Value)
	}
	return dst
}

var errForeignHead = errors.New("not a head of the fleet")

// decodeHead is the reverse. The strings share s.
func decodeHead(s string) (status int, age time.Duration, variant string, fields wire.Fields, err error) {
	r := parts{rest: s}
	st, ns := r.number(), r.number()
	variant = r.text()
	for r.rest != "" && !r.bad {
		fields = append(fields, wire.Field{Name: r.text(), Value: r.text()})
	}
	if r.bad || st < 200 || st > 999 || ns > uint64(100*365*24*time.Hour) {
		return 0, 0, "", nil, errForeignHead
	}
	for _, f := range fields {
		if !wire.IsToken(f.Name) || !wire.IsFieldValue(f.Value) {
			return 0, 0, "", nil, fmt.Errorf("%w: field %.40q", errForeignHead, f.Name)
		}
	}
	return int(st), time.Duration(ns), variant, fields, nil
}

// parts reads what appendPart and binary.AppendUvarint have written.
type parts struct {
	rest string
	bad  bool
}

func (p *parts) number() uint64 {
	b := []byte(p.rest[:min(len(p.rest), binary.MaxVarintLen64)])
	v, n := binary.Uvarint(b)
	if n <= 0 {
		p.bad, p.rest = true, ""
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *parts) text() string {
	n := p.number()
	if n > uint64(len(p.rest)) {
		p.bad, p.rest = true, ""
		return ""
	}
	t := p.rest[:n]
	p.rest = p.rest[n:]
	return t
}
