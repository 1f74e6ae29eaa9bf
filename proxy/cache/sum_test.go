package cache

import (
	"testing"
	"time"

	"ringfence/proxy/wire"
)

// RFC 9111, section 4.2.3: each step, and where the lifetime comes from (section
// 4.2.1).
func TestSum(t *testing.T) {
	p := &Policy{HeuristicMax: time.Hour, DefaultTTL: 70 * time.Second, NegativeTTL: map[int]time.Duration{404: 80 * time.Second}}
	for _, c := range []struct {
		status   int
		fields   string
		source   Source
		lifetime time.Duration
	}{
		{200, "Cache-Control: max-age=60, s-maxage=90", FromSMaxAge, 90 * time.Second},
		{200, "Cache-Control: max-age=60|Expires: 0", FromMaxAge, 60 * time.Second},
		{200, "CDN-Cache-Control: max-age=30|Cache-Control: max-age=60", FromTargetedMaxAge, 30 * time.Second},
		{200, "CDN-Cache-Control: max-age=30, s-maxage=31", FromTargetedSMaxAge, 31 * time.Second},
		{200, "Expires: {+90}", FromExpires, 100 * time.Second},
		{200, "Last-Modified: {-110}", FromHeuristic, 10 * time.Second},
		{200, "X: y", FromDefaultTTL, 70 * time.Second},
		{404, "X: y", FromNegativeTTL, 80 * time.Second},
		{299, "X: y", FromNothing, 0},
	} {
		head := lines(t, "Date: {-10}|Age: 4|"+c.fields)
		m, _ := Assess(p, NewRequest(p, "GET", nil), c.status, head, epoch.Add(-2*time.Second), epoch)
		s := m.Sum(epoch.Add(3 * time.Second))
		want := Sum{
			ApparentAge: 10 * time.Second, CorrectedAge: 6 * time.Second, InitialAge: 10 * time.Second,
			ResidentTime: 3 * time.Second, Age: 13 * time.Second, TTL: c.lifetime - 13*time.Second,
		}
		if m.Source != c.source || s != want || m.AgeValue != 4*time.Second || m.ResponseDelay != 2*time.Second {
			t.Errorf("%d %v: from %s, %+v\nwant %s, %+v", c.status, c.fields, m.Source, s, c.source, want)
		}
		if got := m.Source.IsExplicit(); got != (c.source >= FromTargetedSMaxAge && c.source <= FromExpires) || m.Source.String() == "" {
			t.Errorf("%s: explicit %v", m.Source, got)
		}
	}
}

func TestEveryReasonHasWords(t *testing.T) {
	seen := map[string]Reason{}
	for r := range Reason(ReasonCount + 1) {
		w := r.Words()
		if other, twice := seen[w]; w == "" || twice {
			t.Errorf("%s and %s both say %q", r, other, w)
		}
		seen[w] = r
	}
}

// What AppendVariant has written reads as the request's fields, and anything is
// read without a fault.
func FuzzReadVariant(f *testing.F) {
	f.Add("", "x", "accept", true)
	f.Add("\x00\x00\x00\x01a\xff\xff\xff\xff\x00\x00", "", "b", false)
	f.Add("\x00\x00\x00\x09a", "a, b", "accept-language", true)
	f.Fuzz(func(t *testing.T, raw, value, name string, present bool) {
		ReadVariant(raw)
		var head wire.Fields
		if present {
			head = wire.Fields{{Name: name, Value: value}}
		}
		vary := []string{name, name + "-other"}
		got := ReadVariant(string(AppendVariant(nil, vary, head)))
		if len(got) != 2 || got[0].Name != name || got[0].Absent == present || got[1] != (VariantField{Name: vary[1], Absent: true}) {
			t.Fatalf("%q %q %v: %+v", name, value, present, got)
		}
	})
}
