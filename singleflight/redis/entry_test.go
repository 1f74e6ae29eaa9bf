package redis

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSeal(t *testing.T) {
	const key = "p1{abc}"
	v := seal(key, kindChunk, []byte("payload"))
	if b, err := unseal(key, kindChunk, v); err != nil || string(b) != "payload" {
		t.Fatalf("%q, %v", b, err)
	}
	for name, bad := range map[string]func() ([]byte, error){
		"another key":    func() ([]byte, error) { return unseal("p1{abd}", kindChunk, v) },
		"another kind":   func() ([]byte, error) { return unseal(key, kindHead, v) },
		"a byte changed": func() ([]byte, error) { return unseal(key, kindChunk, v[:len(v)-1]+"D") },
		"a byte missing": func() ([]byte, error) { return unseal(key, kindChunk, v[:len(v)-1]) },
		"too short":      func() ([]byte, error) { return unseal(key, kindChunk, "1234567") },
		"empty":          func() ([]byte, error) { return unseal(key, kindChunk, "") },
	} {
		if _, err := bad(); !errors.Is(err, errBadValue) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzEntries: whatever lies in the engine, it is read or refused; what is read
// says the same when it is written again.
func FuzzEntries(f *testing.F) {
	f.Add(opening{attempt: 2, born: position{line: 1 << 60, at: 300}}.encode())
	f.Add(heading{after: time.Second, keep: time.Hour, length: 1 << 40, identity: 7, bytes: []byte("head")}.encode())
	f.Add(heading{length: -1, tooLarge: true}.encode())
	f.Add(ending{length: 123456, sum: 1 << 63}.encode())
	f.Add([]byte{byte(stopPrivate)})
	f.Add([]byte(strings.Repeat("\xff", 40)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := decodeOpening(b); err == nil {
			if again, err := decodeOpening(o.encode()); err != nil || again != o {
				t.Errorf("%+v: %+v, %v", o, again, err)
			}
		}
		if h, err := decodeHeading(b); err == nil {
			again, err := decodeHeading(h.encode())
			if err != nil || !bytes.Equal(again.bytes, h.bytes) || h.length < -1 || h.keep < 0 || h.after < 0 {
				t.Errorf("%+v: %+v, %v", h, again, err)
			}
			again.bytes, h.bytes = nil, nil
			if again.keep != h.keep || again.after != h.after || again.length != h.length || again.identity != h.identity || again.tooLarge != h.tooLarge {
				t.Errorf("%+v: %+v", h, again)
			}
		}
		if e, err := decodeEnding(b); err == nil {
			if again, err := decodeEnding(e.encode()); err != nil || again != e || e.length < 0 {
				t.Errorf("%+v: %+v, %v", e, again, err)
			}
		}
		if s, err := decodeStop(b); err == nil && (len(b) != 1 || stop(b[0]) != s) {
			t.Errorf("%q: %q", b, s)
		}
	})
}

// FuzzItems: entries come in order, without a gap and of one fence.
func FuzzItems(f *testing.F) {
	const key = "k"
	f.Add("7-0", "7-1", "h", uint64(1), seal(key, kindHead, nil))
	f.Add("7-0", "7-0", "token", uint64(0), seal(key, kindOpen, nil))
	f.Add("7-0", "8-1", "h", uint64(1), seal(key, kindHead, nil))
	f.Add("7-0", "7-2", "h", uint64(1), seal(key, kindHead, nil))
	f.Add("7-0", "7-1", "o", uint64(1), seal(key, kindOpen, nil))
	f.Add("7-0", "7-1", "hx", uint64(1), seal(key, kindHead, nil))
	f.Add("", "", "", uint64(0), "")
	f.Fuzz(func(t *testing.T, first, id, field string, next uint64, v string) {
		one := value{list: []value{{s: id}, {list: []value{{s: field}, {s: v}}}}}
		all, err := items(key, first, next, []value{one})
		if err != nil {
			return
		}
		if len(all) != 1 || id != fenceOf(first)+"-"+number(next) || (next == 0) != (all[0].kind == kindOpen) ||
			next > 0 && field != string(rune(all[0].kind)) {
			t.Errorf("%q after %q as number %d: %+v", id, first, next, all)
		}
	})
}

func TestSplice(t *testing.T) {
	write := func(s *splice, parts ...string) error {
		for _, p := range parts {
			if n, err := s.Write([]byte(p)); err != nil {
				return err
			} else if n != len(p) {
				t.Errorf("%d of %q", n, p)
			}
		}
		return nil
	}
	for _, tt := range []struct {
		name  string
		first []string
		then  []string
		out   string
		err   error
		ok    bool // caught up
	}{
		{"one fill", []string{"ab", "", "cd"}, nil, "abcd", nil, true},
		{"the same again", []string{"abc"}, []string{"abc", "def"}, "abcdef", nil, true},
		{"in other pieces", []string{"ab", "c"}, []string{"a", "bcde", "f"}, "abcdef", nil, true},
		{"nothing yet", nil, []string{"abc"}, "abc", nil, true},
		{"nothing more", []string{"abc"}, []string{"abc"}, "abc", nil, true},
		{"other bytes", []string{"abc"}, []string{"abd", "ef"}, "abc", ErrChanged, false},
		{"shorter", []string{"abc"}, []string{"ab"}, "abc", nil, false},
	} {
		var out strings.Builder
		s := &splice{w: &out}
		s.restart()
		if err := write(s, tt.first...); err != nil {
			t.Fatal(err)
		}
		if tt.then != nil {
			s.restart()
			if s.passed > 0 && s.caughtUp() {
				t.Errorf("%s: caught up before it began", tt.name)
			}
		}
		err := write(s, tt.then...)
		if !errors.Is(err, tt.err) || out.String() != tt.out || err == nil && s.caughtUp() != tt.ok {
			t.Errorf("%s: %q, %v, caught up: %v", tt.name, out.String(), err, s.caughtUp())
		}
	}
}
