package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
	"ringfence/singleflight/redis"
)

// Damage of any byte is noticed, what was whole before it is loaded, and a foreign
// file or another version's is left alone.
func TestSnapshotDamage(t *testing.T) {
	t.Parallel()
	old := newSite(t, func(r origin.Request) origin.Answer { return origin.Text("max-age=600", "body of "+r.Path()) })
	for i := range 3 {
		old.get("/" + strconv.Itoa(i))
	}
	old.stored(3)
	b := snapshotOf(t, old.h)
	h := newHandlerFor(t, "127.0.0.1:1")
	load := func(b []byte) (int64, error) {
		for e := range h.store.Ranked(func(*entry) uint64 { return 0 }) {
			h.store.Delete(e.Key)
		}
		err := h.LoadSnapshot(context.Background(), bytes.NewReader(b), int64(len(b)), noPast(t))
		for e := range h.store.Ranked(func(*entry) uint64 { return 0 }) {
			if !strings.HasPrefix(string(e.Body), "body of /") {
				t.Fatalf("body %q", e.Body)
			}
		}
		return h.store.Stats().Entries, err
	}
	if n, err := load(b); n != 3 || err != nil {
		t.Fatalf("%d loaded, %v", n, err)
	}
	least := int64(0)
	for at := range b {
		broken := bytes.Clone(b)
		broken[at] ^= 1 << (at % 8)
		n, err := load(broken)
		if err == nil {
			t.Fatalf("byte %d of %d is another one, and nobody notices", at, len(b))
		}
		if n < least {
			t.Fatalf("damage at %d: %d loaded, %d at a byte before", at, n, least)
		}
		least = max(least, n)
		if m, err := load(b[:at]); err == nil || m > n {
			t.Fatalf("cut off at %d: %d loaded, %v", at, m, err)
		}
	}
	if least != 3 {
		t.Errorf("damage at the end: %d loaded", least)
	}
	later := bytes.Clone(b)
	later[len(snapshotMagic)]++
	for name, tt := range map[string]struct {
		b    []byte
		want error
	}{"empty": {nil, errNoSnapshot}, "foreign": {[]byte(strings.Repeat("x", 1000)), errNoSnapshot}, "later": {later, errSnapshotVersion}} {
		if n, err := load(tt.b); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: %d loaded, %v", name, n, err)
		}
	}
}

// A reader is at the mercy of no file.
func FuzzSnapshot(f *testing.F) {
	p := preserved{heat: heat(0).used(7), key: "k", status: 200, lifetime: -1, age: 5, bodies: []preservedBody{{cache.Identity, 3, 0}}}
	for _, o := range []SnapshotOrigin{{Written: time.Unix(1, 0)}, {Positions: []redis.Position{{Node: "a", Line: 1, At: 2}}}} {
		var b bytes.Buffer
		w := newFrameWriter(&b, o)
		w.frame(p.appendTo(nil), []byte("abc"))
		w.end()
		f.Add(b.Bytes(), p.appendTo(nil))
	}
	f.Fuzz(func(t *testing.T, file, head []byte) {
		r, _, err := newFrameReader(bytes.NewReader(file), int64(len(file)))
		for err == nil {
			var h []byte
			if h, err = r.next(); h == nil {
				break
			}
			if p, ok := readPreserved(h); ok {
				for _, b := range p.bodies {
					if _, err = r.body(b.size, b.sum); err != nil {
						break
					}
				}
			}
		}
		p, ok := readPreserved(head)
		if !ok {
			return
		}
		again, ok := readPreserved(p.appendTo(nil))
		if !ok || fmt.Sprint(again) != fmt.Sprint(p) {
			t.Errorf("%+v, then %+v", p, again)
		}
		if n, ok := readName(p.key, p.variant); ok && (n.pathText() == "" || !strings.HasPrefix(p.key, n.scope)) {
			t.Errorf("path %q, scope %q", n.pathText(), n.scope)
		}
		variesBy(p.variant, []string{"a", "accept"})
	})
}

// A key says what keys.build made it of, whatever the parts.
func TestReadName(t *testing.T) {
	h := newHandlerFor(t, "127.0.0.1:1")
	for _, parts := range [][]string{{"path"}, {"scheme", "host", "path", "query"}, {"host", "path", "header:X-A", "cookie:c"}, {"path", "cookie:c"}} {
		r := h.snap.Load().routes[0]
		r.Key = nil
		for _, name := range parts {
			part, err := ParseKeyPart(name)
			if err != nil {
				t.Fatal(err)
			}
			r.Key = append(r.Key, part)
		}
		r.prepare()
		fields := append(host("x:81"), host("x")...)
		fields[1].Name, fields[1].Value = "X-A", "a"
		at, err := parseTarget("http", "GET", "/a/b?c=d", fields)
		if err != nil {
			t.Fatal(err)
		}
		var k keys
		k.build(r, at, fields)
		k.bytes = cache.AppendVariant(k.bytes, []string{"x-a"}, fields)
		n, ok := readName(string(k.storeName()), string(k.variant()))
		if !ok || n.hash != k.hash || n.resource != k.resource || n.path != k.path || n.origin() != k.origin() ||
			n.pathText() != "/a/b" || n.scope != string(r.scope) || (n.host == "x") != (len(parts) > 2) || h.snap.Load().routes.routeOf(&n) != r {
			t.Errorf("%v: %+v, %v; want %+v", parts, n, ok, k)
		}
		if !variesBy(string(k.variant()), []string{"x-a"}) || variesBy(string(k.variant()), []string{"x-b"}) || variesBy(string(k.variant()), nil) {
			t.Errorf("%v: the variant tells by other fields", parts)
		}
		if _, ok := readName(string(k.storeName()), "other"); ok {
			t.Errorf("%v: another variant has the same name", parts)
		}
	}
}
