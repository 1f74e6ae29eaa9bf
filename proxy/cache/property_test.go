package cache

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/proxy/wire"
)

// pieces of heads, from which random ones are put together.
var (
	responsePieces = []string{
		"Cache-Control: max-age=60", "Cache-Control: max-age=0", "Cache-Control: s-maxage=30, max-age=5", "Cache-Control: no-store",
		"Cache-Control: private", "Cache-Control: no-cache", "Cache-Control: public", "Cache-Control: must-revalidate",
		`Cache-Control: max-age="9`, "Cache-Control: max-age=99999999999", "Expires: {100}", "Expires: {-100}", "Expires: 0",
		"Date: {-20}", "Date: {20}", "Date: x", "Age: 10", "Age: 9999999999", "Age: x", `ETag: "a"`, "Last-Modified: {-1000}",
		"Vary: a", "Vary: *", "Set-Cookie: a=b", "Cache-Control: stale-while-revalidate=20", "Cache-Control: stale-if-error=20",
		"CDN-Cache-Control: max-age=15", "CDN-Cache-Control: no-store", "CDN-Cache-Control: &", `Cache-Control: private="x"`,
		"Cache-Control: must-understand", "Cache-Control: proxy-revalidate", `Cache-Groups: "a"`, "X: 1",
	}
	requestPieces = []string{
		"Authorization: x", "Cache-Control: no-cache", "Cache-Control: no-store", "Cache-Control: max-stale",
		"Cache-Control: max-stale=10", "Cache-Control: max-age=20", "Cache-Control: min-fresh=5", "Cache-Control: only-if-cached",
		"Cache-Control: stale-if-error=9", `If-None-Match: "a"`, "Range: bytes=0-1", "If-Match: *", "Pragma: no-cache", "Content-Length: 3",
	}
	methods  = []string{"GET", "GET", "GET", "HEAD", "POST"}
	statuses = []int{200, 200, 200, 204, 206, 301, 304, 404, 412, 416, 599, 103}
)

func pick(t *testing.T, r *rand.Rand, pieces []string, most int) wire.Fields {
	var f wire.Fields
	for range r.IntN(most + 1) {
		f = append(f, lines(t, pieces[r.IntN(len(pieces))])...)
	}
	return f
}

func anyPolicy(r *rand.Rand) *Policy {
	seconds := func() time.Duration { return time.Duration(r.IntN(3)) * 20 * time.Second }
	p := &Policy{
		DefaultTTL: seconds(), HeuristicMax: seconds(), StaleOnError: seconds(),
		SetCookie: SetCookieRule(r.IntN(4)), Ignore: RequestDirectives(r.Uint32() & r.Uint32()),
	}
	if r.IntN(2) == 0 {
		p.NegativeTTL = map[int]time.Duration{404: seconds(), 5: seconds()}
	}
	return p
}

// TestProperties: over random exchanges and policies, age never falls, nothing
// gets fresher by being stored, and nothing is served that may not be.
func TestProperties(t *testing.T) {
	served, stale := 0, 0
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1))
		p, head := anyPolicy(r), pick(t, r, responsePieces, 6)
		status := statuses[r.IntN(len(statuses))]
		sent := epoch.Add(-time.Duration(r.IntN(3000)) * time.Millisecond)
		m, why := Assess(p, NewRequest(p, methods[r.IntN(len(methods))], pick(t, r, requestPieces, 2)), status, head, sent, epoch)
		if m.InitialAge < ageField(head)+epoch.Sub(sent) {
			t.Fatalf("seed %d: %v became fresher: age %v", seed, head, m.InitialAge)
		}
		if (m.MustRevalidate || m.NoCache) && m.StaleWhileRevalidate+m.StaleOnError != 0 {
			t.Fatalf("seed %d: %v has stale windows", seed, head)
		}
		o, before, unit := &Object{Meta: m}, time.Duration(-1), time.Duration(r.IntN(30))*time.Second
		for step := range 5 {
			now := epoch.Add(time.Duration(step-1) * unit) // the first may be before the response
			rq := NewRequest(p, methods[r.IntN(len(methods))], pick(t, r, requestPieces, 2))
			d := Decide(o, rq, now)
			if d.Age < before || d.Age < m.InitialAge || d.TTL+d.Age != m.Lifetime {
				t.Fatalf("seed %d: age fell from %v to %v, and %v are left", seed, before, d.Age, d.TTL)
			}
			before = d.Age
			past := d.Age - m.Lifetime // how stale it is, if not negative
			onError := rq.StaleIfError
			if onError < 0 {
				onError = m.StaleOnError
			}
			if ServesOnError(o, rq, now) && (why != None || m.NoCache || past >= 0 && (m.MustRevalidate || past > onError)) {
				t.Fatalf("seed %d: served %v (%v) %v stale on an error", seed, head, why, past)
			}
			if d.Action != Serve && d.Action != ServeAndRefresh {
				if d.Reason == None {
					t.Fatalf("seed %d: %v without a reason", seed, d.Action)
				}
				continue
			}
			served++
			if past >= 0 {
				stale++
			}
			allowed := past < 0 && d.Reason == None && d.Action == Serve ||
				d.Reason == None && rq.MaxStale >= past && !m.MustRevalidate ||
				d.Reason == StaleWhileRevalidate && past <= m.StaleWhileRevalidate
			if why != None || m.NoCache || !allowed || rq.Method == "POST" || o.KeepFor(now) <= 0 && rq.MaxStale < past {
				t.Fatalf("seed %d: served %v (%v) %v stale to %v", seed, head, why, past, rq)
			}
		}
	}
	if served < 1000 || stale < 100 {
		t.Fatalf("only %d were served, %d stale: the property was hardly tried", served, stale)
	}
}

// TestRestrictionsOnlyRestrict: one more restricting directive never makes a
// response storable that was not, nor lets it be served where it was not.
func TestRestrictionsOnlyRestrict(t *testing.T) {
	for seed := range uint64(10000) {
		r := rand.New(rand.NewPCG(seed, 2))
		p, head := anyPolicy(r), pick(t, r, responsePieces, 5)
		more := []string{"no-store", "no-cache", "private", "max-age=3", "proxy-revalidate", "must-understand=1"}[r.IntN(6)]
		field := "Cache-Control"
		if readControl(head).targeted {
			field = "CDN-Cache-Control"
		}
		status, rq := statuses[r.IntN(len(statuses))], NewRequest(p, "GET", pick(t, r, requestPieces, 1))
		m, why := Assess(p, rq, status, head, epoch, epoch)
		if more == "max-age=3" && m.Lifetime < 3*time.Second {
			continue // it may be the first word on freshness
		}
		n, whyNot := Assess(p, rq, status, append(head, wire.Field{Name: field, Value: more}), epoch, epoch)
		// With a validator, no-cache makes worth storing what was not.
		if whyNot == None && why != None && why != NoFreshness {
			t.Fatalf("seed %d: %v is storable with %s, and not without (%v)", seed, head, more, why)
		}
		for _, after := range []time.Duration{0, 2, 5, 25, 70} {
			now, ask := epoch.Add(after*time.Second), get(t, "")
			was, is := Decide(&Object{Meta: m}, ask, now), Decide(&Object{Meta: n}, ask, now)
			if is.Action <= ServeAndRefresh && was.Action > ServeAndRefresh ||
				ServesOnError(&Object{Meta: n}, ask, now) && !ServesOnError(&Object{Meta: m}, ask, now) {
				t.Fatalf("seed %d: %v with %s is served after %d s, and not without", seed, head, more, after)
			}
		}
	}
}

// FuzzAssess: no head makes a response storable by what a quotation mark hides,
// and none makes anything panic.
func FuzzAssess(f *testing.F) {
	f.Add("max-age=60", "Wed, 04 Mar 2026 12:00:00 GMT", "5", "foo")
	f.Add(`a="`, "0", "-1", "*")
	f.Add(`private="a, b", max-age=5, stale-while-revalidate=9`, "Wednesday, 04-Mar-26 12:00:00 GMT", "7, 8", "a,,B")
	f.Fuzz(func(t *testing.T, control, date, age, vary string) {
		head := wire.Fields{
			{Name: "Cache-Control", Value: control}, {Name: "Expires", Value: date}, {Name: "Date", Value: date},
			{Name: "Age", Value: age}, {Name: "Vary", Value: vary}, {Name: "ETag", Value: date}, {Name: "Last-Modified", Value: date},
			{Name: "X", Value: vary},
		}
		p := &Policy{HeuristicMax: time.Hour, DefaultTTL: time.Minute, StaleOnError: time.Hour}
		rq := NewRequest(p, "GET", head)
		m, why := Assess(p, rq, 200, head, epoch, epoch)
		if m.Lifetime < 0 || m.Lifetime > maxDelta || m.InitialAge < 0 || why != None && m.Lifetime != 0 {
			t.Fatalf("lifetime %v, age %v, %v", m.Lifetime, m.InitialAge, why)
		}
		if m.StaleWhileRevalidate < 0 || m.StaleOnError < 0 || m.KeepFor(epoch) < 0 {
			t.Fatalf("windows %v and %v, kept for %v", m.StaleWhileRevalidate, m.StaleOnError, m.KeepFor(epoch))
		}
		for _, f := range m.Withheld {
			if m.Fields.Has(f.Name) || isVital(f.Name) {
				t.Fatalf("%s is withheld, and is not", f.Name)
			}
		}
		o := &Object{Meta: m}
		Evaluate(&m, 10, rq)
		if d := Decide(o, rq, epoch); d.Action <= ServeAndRefresh && why != None {
			t.Fatalf("served what was refused for %v", why)
		}
		Freshen(p, o, rq, head, epoch, epoch)
		UpdateByHead(p, o, NewRequest(p, "HEAD", head), 200, head, epoch, epoch)
	})
}

// FuzzAge: what is no number of seconds counts as 0, what is one comes back, and
// only the first member counts.
func FuzzAge(f *testing.F) {
	f.Add("7200", uint32(5))
	f.Add("-1, 5", uint32(1<<31-1))
	f.Add("1.5", uint32(0))
	f.Fuzz(func(t *testing.T, value string, n uint32) {
		age := func(lines ...string) time.Duration {
			var fields wire.Fields
			for _, v := range lines {
				fields = append(fields, wire.Field{Name: "Age", Value: v})
			}
			return ageField(fields)
		}
		if a := age(value); a < 0 || a > maxDelta || a%time.Second != 0 {
			t.Fatalf("%q is %v", value, a)
		}
		want := min(time.Duration(n)*time.Second, maxDelta)
		text := strconv.FormatUint(uint64(n), 10)
		if age(text) != want || age(text+","+value) != want || age(text, value) != want || age("-"+text) != 0 || age(text+".0") != 0 {
			t.Fatalf("%d with %q", n, value)
		}
	})
}

// FuzzVary: the names come out sorted, each once, in lower case, whatever their
// order and lines; a star anywhere is never lost.
func FuzzVary(f *testing.F) {
	f.Add("a, B", "c")
	f.Add("", "*")
	f.Add(", ,a,", "a b")
	f.Fuzz(func(t *testing.T, one, two string) {
		names, why := parseVary(wire.Fields{{Name: "Vary", Value: one}, {Name: "vary", Value: two}})
		for i, name := range names {
			if name != strings.ToLower(name) || !wire.IsToken(name) || i > 0 && names[i-1] >= name {
				t.Fatalf("%q and %q gave %q", one, two, names)
			}
		}
		again, whyAgain := parseVary(wire.Fields{{Name: "Vary", Value: two + ", " + one}})
		if len(one)+len(two) < maxVary && (why != whyAgain || !slices.Equal(names, again)) {
			t.Fatalf("%q and %q: %q (%v) or %q (%v)", one, two, names, why, again, whyAgain)
		}
		if _, why := parseVary(wire.Fields{{Name: "Vary", Value: one}, {Name: "Vary", Value: "*"}}); why == None {
			t.Fatalf("the star behind %q was lost", one)
		}
	})
}
