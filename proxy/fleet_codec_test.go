package proxy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
	"ringfence/proxy/wire"
	"ringfence/singleflight/redis"
)

// fleetJob is a fill of a GET of /, which began now.
func fleetJob(t *testing.T, h *Handler, fields ...wire.Field) *job {
	t.Helper()
	r := h.snap.Load().routes[0]
	j := &job{h: h, snap: h.snap.Load(), tables: &h.tables, route: r, target: target{scheme: "http", authority: "x", path: "/", raw: "/"}, fields: fields, born: h.struck.Now()}
	j.rq = cache.NewRequest(&r.Policy, "GET", j.fields)
	j.key.build(r, j.target, j.fields)
	return j
}

// fieldsOf is a head's fields, each given as "Name: value".
func fieldsOf(lines ...string) (fs wire.Fields) {
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		fs = append(fs, wire.Field{Name: name, Value: value})
	}
	return fs
}

// What another instance has answers a request where it was asked for after the
// request came, or is what the store would serve (RFC 9111, section 4).
func TestFleetDecode(t *testing.T) {
	const sec = time.Second
	english := wire.Field{Name: "Accept-Language", Value: "en"}
	tests := []struct {
		name   string
		fields string        // of the response, split at |
		age    time.Duration // that the response had at the other instance
		since  time.Duration // it was published
		waited time.Duration // the request, before that was read
		change func(*job, *redis.Stored)
		ok     bool
		stored bool // an answer of the shared tier
		total  time.Duration
	}{
		{name: "fresh", fields: "Cache-Control: max-age=60", age: 2 * sec, since: 5 * sec, ok: true, stored: true, total: 7 * sec},
		{name: "an age rounds up", fields: "Cache-Control: max-age=60", age: sec / 10, since: 5 * sec, ok: true, stored: true, total: 6 * sec},
		{name: "stale", fields: "Cache-Control: max-age=60", since: 90 * sec},
		{name: "stale where it was fetched", fields: "Cache-Control: max-age=60", age: 90 * sec, since: sec},
		{name: "asked for meanwhile", fields: "Cache-Control: max-age=60", since: 5 * sec, waited: 6 * sec, ok: true, total: 5 * sec},
		{name: "stale, asked for meanwhile", fields: `Cache-Control: no-cache|ETag: "1"`, since: sec / 2, waited: sec, ok: true, total: sec},
		{name: "to be revalidated", fields: `Cache-Control: no-cache|ETag: "1"`, since: sec},
		{name: "not to be stored", fields: "Cache-Control: no-store", since: sec},
		{name: "not to be stored, asked for meanwhile", fields: "Cache-Control: no-store", since: sec, waited: 2 * sec, ok: true, total: sec},
		{name: "invalidated since", fields: "Cache-Control: max-age=60", since: sec, waited: 2 * sec,
			change: func(j *job, st *redis.Stored) { st.Born = j.born; bump(j.h, j.key.resource) }},
		{name: "a group invalidated since", fields: `Cache-Control: max-age=60|Cache-Groups: "g"`, since: sec, waited: 2 * sec,
			change: func(j *job, st *redis.Stored) { st.Born = j.born; bump(j.h, tagOf(j.target, "g")) }},
		{name: "invalidated before", fields: "Cache-Control: max-age=60", since: sec, ok: true, stored: true, total: sec,
			change: func(j *job, st *redis.Stored) {
				bump(j.h, j.key.resource)
				j.born = j.h.struck.Now()
				st.Born = j.born
			}},
		{name: "invalidated since the request came", fields: "Cache-Control: max-age=60", since: sec,
			change: func(j *job, _ *redis.Stored) { bump(j.h, j.key.resource) }},
		{name: "no later than what is renewed", fields: "Cache-Control: max-age=60", since: 30 * sec, change: renewing(20 * sec)},
		{name: "later than what is renewed", fields: "Cache-Control: max-age=60", since: 5 * sec, ok: true, stored: true, total: 5 * sec, change: renewing(20 * sec)},
		{name: "no later than what is stored", fields: "Cache-Control: max-age=60", since: 30 * sec, ok: true, stored: true, total: 30 * sec,
			change: func(j *job, st *redis.Stored) { renewing(20*sec)(j, st); j.renewal = false }},
		{name: "of a later format", change: func(_ *job, st *redis.Stored) { st.Bytes = []byte("\x01") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHandlerFor(t, "127.0.0.1:1")
			j := fleetJob(t, h, english)
			st := redis.Stored{
				Bytes:  encodeHead(200, tt.age, "en", fieldsOf(strings.Split(tt.fields+"|Vary: Accept-Language|Date: "+httpDate(time.Now().Add(-tt.since)), "|")...)),
				Length: 3, Age: tt.since, Born: 1 << 62,
			}
			if tt.change != nil {
				tt.change(j, &st)
			}
			s := &shared{j: j, began: time.Now().Add(-tt.waited)}
			hd, err := s.Decode(st)
			if (err == nil) != tt.ok || (s.decoded != nil) != tt.ok {
				t.Fatalf("%v, decoded %v", err, s.decoded)
			}
			rec, known := h.index.Lookup(j.key.hash, string(j.key.bytes[:j.key.primary]), time.Now())
			if err != nil {
				if known {
					t.Errorf("what is of no use says that the key varies: %v", rec)
				}
				return
			}
			if age := hd.meta.Age(time.Now()); hd.stored != tt.stored || age < tt.total || age > tt.total+2*sec {
				t.Errorf("stored: %v, age %v; want %v, %v", hd.stored, age, tt.stored, tt.total)
			}
			if known != (hd.reason == cache.None) || hd.born > j.born || !hd.copied || hd.variant != "en" || hd.length != 3 {
				t.Errorf("known to vary: %v; %+v", known, hd)
			}
			if head := string(hd.heading.append(nil, hd.meta.Status, frame(hd.length))); !strings.Contains(head, "Content-Length: 3\r\n") {
				t.Errorf("the head: %s", head)
			}
		})
	}
}

// What comes of a head of the fleet: an upstream's failure is known here, too;
// and what is invalidated before the body has come is not kept.
func TestFleetKeep(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1")
	for name, struck := range map[string]bool{"kept": false, "invalidated on its way": true} {
		j := fleetJob(t, h)
		h.store.Delete(string(j.key.storeName()))
		s := &shared{j: j, began: time.Now()}
		st := redis.Stored{Bytes: encodeHead(200, 0, "", fieldsOf("Cache-Control: max-age=60")), Length: 1, Age: time.Second, Born: 1 << 62}
		hd, err := s.Decode(st)
		if err != nil {
			t.Fatal(err)
		}
		if struck {
			bump(h, j.key.resource)
		}
		s.Keep(hd, []byte(name))
		if <-hd.whole.ended; string(hd.whole.body) != name {
			t.Errorf("%s: those who want parts have %q", name, hd.whole.body)
		}
		if e, why := h.find(&j.key, j.fields, time.Now()); (e == nil) != struck {
			t.Errorf("%s: %v, %v", name, e, why)
		}
	}
	english := fleetJob(t, h, wire.Field{Name: "Accept", Value: "en"})
	s := &shared{j: english, began: time.Now()}
	hd, err := s.Decode(redis.Stored{Bytes: encodeHead(200, 0, "other", fieldsOf("Cache-Control: max-age=60", "Vary: Accept")), Length: 1, Age: time.Second, Born: 1 << 62})
	if err != nil {
		t.Fatal(err)
	}
	s.Keep(hd, []byte("x"))
	if e, _ := h.find(&english.key, english.fields, time.Now()); e != nil {
		t.Errorf("another variant is kept as %q", e.variant)
	}
	j := fleetJob(t, h)
	j.found = &entry{Object: &cache.Object{}}
	if _, err := (&shared{j: j, began: time.Now().Add(-time.Minute)}).Decode(redis.Stored{Bytes: encodeHead(503, 0, "", nil), Age: time.Second, Born: 1 << 62}); err != nil || !j.found.failing.Load() {
		t.Errorf("%v, failing: %v", err, j.found.failing.Load())
	}
}

func httpDate(at time.Time) string { return at.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }

// renewing has the fill renew what is of that age.
func renewing(age time.Duration) func(*job, *redis.Stored) {
	return func(j *job, _ *redis.Stored) {
		now := time.Now()
		j.renewal = true
		j.found = &entry{Object: &cache.Object{Meta: cache.Meta{Date: now.Add(-age), ResponseTime: now.Add(-age)}}}
	}
}

// What others are told of a head: how long it may be kept, and all of a body
// that was confirmed.
func TestFleetEncode(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1")
	j := fleetJob(t, h)
	now := time.Now()
	meta := func(lines ...string) (cache.Meta, cache.Reason) {
		return cache.Assess(&j.route.Policy, j.rq, 200, fieldsOf(append(lines, "Date: "+httpDate(now))...), now, now)
	}
	m, why := meta("Cache-Control: max-age=60", `ETag: "1"`)
	s := &shared{j: j}
	if out := s.Encode(&head{meta: m, reason: why, length: 7, variant: "v"}); out.Keep < time.Minute-time.Second || out.Keep > m.KeepFor(now) ||
		out.Length != 7 || out.Variant != "v" || out.Body != nil {
		t.Errorf("storable: %+v", out)
	}
	if out := s.Encode(&head{meta: m, reason: cache.TooLarge, length: wire.UntilClose}); out.Keep != 0 || out.Length != wire.Chunked {
		t.Errorf("not storable: %+v", out)
	}
	old, _ := meta("Cache-Control: max-age=60", "Age: 30")
	if _, age, _, fields, err := decodeHead(string(s.Encode(&head{meta: old, length: 7}).Bytes)); err != nil || age < 30*time.Second || age > 40*time.Second || fields.Has("Age") {
		t.Errorf("an age of 30 s: %v, %v, %v", age, fields, err)
	}
	for _, body := range []string{"", "body"} {
		b := []byte(body)
		e := &entry{Object: &cache.Object{Meta: m, Body: b[:len(b):len(b)]}, variant: "w"}
		if out := s.Encode(&head{entry: e, length: 99}); string(out.Body) != body || out.Body == nil || out.Length != int64(len(body)) ||
			out.Variant != "w" || out.Keep == 0 {
			t.Errorf("confirmed %q: %+v", body, out)
		}
	}
	// RFC 9110, section 8.8: one body may go on where another ended only if the
	// validators say so.
	same, _ := meta("Cache-Control: max-age=9", `ETag: "1"`)
	base := identityOf(&m, 7)
	if identityOf(&same, 7) != base || identityOf(&m, wire.Chunked) != identityOf(&m, wire.UntilClose) {
		t.Error("the same response has another identity")
	}
	others := map[string]uint64{"length": identityOf(&m, 8)}
	for name, line := range map[string]string{
		"tag": `ETag: "2"`, "date": "Last-Modified: " + httpDate(now.Add(-time.Hour)), "coding": "Content-Encoding: gzip",
	} {
		o, _ := meta("Cache-Control: max-age=60", line)
		if name != "tag" {
			o.ETag = m.ETag
		}
		others[name] = identityOf(&o, 7)
	}
	failed := m
	failed.Status = 203
	others["status"] = identityOf(&failed, 7)
	for name, id := range others {
		if id == base {
			t.Errorf("another %s, the same identity", name)
		}
	}
}

// The fleet's names for a fill: one for each primary key and class of request,
// and below it the variant.
func TestFleetKeys(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1")
	name := func(fields ...wire.Field) redis.Key {
		j := fleetJob(t, h, fields...)
		return j.key.fleetKey(j.fields)
	}
	plain, cookie := name(), name(wire.Field{Name: "Cookie", Value: "a=1"})
	login := name(wire.Field{Name: "Authorization", Value: "x"}, wire.Field{Name: "Cookie", Value: "a=1"})
	if plain.Name == cookie.Name || plain.Name == login.Name || cookie.Name == login.Name || plain.Variant != "" {
		t.Errorf("%q %q %q", plain, cookie, login)
	}
	if other := name(wire.Field{Name: "Cookie", Value: "a=2"}); other != cookie {
		t.Errorf("%q %q", other, cookie)
	}
	j := fleetJob(t, h, wire.Field{Name: "Accept", Value: "a/b"})
	h.rememberVary(&j.key, []string{"accept"})
	h.find(&j.key, j.fields, time.Now())
	if k := j.key.fleetKey(j.fields); k.Name != plain.Name || k.Variant == "" {
		t.Errorf("a variant is called %q", k)
	}
}

// bump strikes what belongs to a hash.
func bump(h *Handler, hash uint64) {
	h.struck.apply(strike{memory.Nothing, oneHash, hash}, time.Now())
}

// Each tag is a strike; one that cannot be read is taken for everything.
func TestFleetTier(t *testing.T) {
	for name, tt := range map[string]struct {
		tags        []string
		seven, rest memory.Left // 2: it is as it was
	}{
		"one":         {[]string{strike{memory.Nothing, oneHash, 7}.encode()}, memory.Nothing, 2},
		"softly":      {[]string{strike{memory.Stale, oneHash, 7}.encode()}, memory.Stale, 2},
		"everything":  {[]string{strike{left: memory.Stale}.encode()}, memory.Stale, memory.Stale},
		"of no use":   {[]string{"\x00\x00\x00\x00\x00\x00\x00\x07"}, memory.Nothing, memory.Nothing},
		"both, twice": {[]string{strike{memory.Stale, oneHash, 8}.encode(), strike{memory.Nothing, oneHash, 7}.encode()}, memory.Nothing, memory.Stale},
	} {
		h := newHandlerFor(t, "127.0.0.1:1")
		born := h.struck.Now()
		tier{h}.Apply(tt.tags)
		for hash, want := range map[uint64]memory.Left{7: tt.seven, 8: tt.rest} {
			got, last := memory.Left(2), h.struck.Last(hash)
			switch {
			case born < last.Nothing:
				got = memory.Nothing
			case born < last.Stale:
				got = memory.Stale
			}
			if got != want {
				t.Errorf("%s: of %d is left %d, want %d", name, hash, got, want)
			}
			if (tier{h}).Now() != h.struck.Now() || last.Latest() > h.struck.Now() {
				t.Errorf("%s: it strikes what came later", name)
			}
		}
		born = h.struck.Now()
		if (tier{h}).Drop(); h.struck.Last(9).Nothing <= born {
			t.Errorf("%s: not all was dropped", name)
		}
	}
}

func TestForeignHeads(t *testing.T) {
	for name, b := range map[string][]byte{
		"status":      encodeHead(199, 0, "", nil),
		"high status": encodeHead(1000, 0, "", nil),
		"age":         encodeHead(200, 101*365*24*time.Hour, "", nil),
		"name":        encodeHead(200, 0, "", wire.Fields{{Name: "a b", Value: "c"}}),
		"value":       encodeHead(200, 0, "", wire.Fields{{Name: "a", Value: "b\r\nc: d"}}),
		"half a line": append(encodeHead(200, 0, "", nil), 1, 'a'),
		"nothing":     nil,
	} {
		if status, _, _, fields, err := decodeHead(string(b)); !errors.Is(err, errForeignHead) {
			t.Errorf("%s: %d %s, %v", name, status, fmt.Sprint(fields), err)
		}
	}
}
