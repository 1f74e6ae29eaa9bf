package cache

import (
	"math/rand/v2"
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
		"Vary: a", "Vary: *", "Set-Cookie: a=b",
	}
	requestPieces = []string{
		"Authorization: x", "Cache-Control: no-cache", "Cache-Control: no-store", "Cache-Control: max-stale",
		"Cache-Control: max-stale=10", "Cache-Control: max-age=20", "Cache-Control: min-fresh=5", "Cache-Control: only-if-cached",
		`If-None-Match: "a"`, "Range: bytes=0-1", "If-Match: *", "Pragma: no-cache", "Content-Length: 3",
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

// TestProperties: over random exchanges, age never falls, nothing gets fresher
// by being stored, and nothing is served that may not be.
func TestProperties(t *testing.T) {
	served := 0
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1))
		head := pick(t, r, responsePieces, 6)
		status := statuses[r.IntN(len(statuses))]
		sent := epoch.Add(-time.Duration(r.IntN(3000)) * time.Millisecond)
		m, why := Assess(NewRequest(methods[r.IntN(len(methods))], pick(t, r, requestPieces, 2)), status, head, sent, epoch)
		if m.InitialAge < ageField(head)+epoch.Sub(sent) {
			t.Fatalf("seed %d: %v became fresher: age %v", seed, head, m.InitialAge)
		}
		o, before, unit := &Object{Meta: m}, time.Duration(-1), time.Duration(r.IntN(30))*time.Second
		for step := range 5 {
			now := epoch.Add(time.Duration(step-1) * unit) // the first may be before the response
			rq := NewRequest(methods[r.IntN(len(methods))], pick(t, r, requestPieces, 2))
			d := Decide(o, rq, now)
			if d.Age < before || d.Age < m.InitialAge {
				t.Fatalf("seed %d: age fell from %v to %v", seed, before, d.Age)
			}
			before = d.Age
			if d.Action != Serve {
				if d.Reason == None {
					t.Fatalf("seed %d: %v without a reason", seed, d.Action)
				}
				continue
			}
			served++
			stale := d.Age >= m.Lifetime
			allowed := rq.MaxStale >= 0 && !m.MustRevalidate && d.Age-m.Lifetime <= rq.MaxStale
			if why != None || m.NoCache || stale && !allowed || rq.Method == "POST" {
				t.Fatalf("seed %d: served %v (%v) %v stale to %v", seed, head, why, d.Age-m.Lifetime, rq)
			}
		}
	}
	if served < 1000 {
		t.Fatalf("only %d were served: the property was hardly tried", served)
	}
}

// FuzzAssess: no head makes a response storable by what a quotation mark hides,
// and none makes anything panic.
func FuzzAssess(f *testing.F) {
	f.Add("max-age=60", "Wed, 04 Mar 2026 12:00:00 GMT", "5", "foo")
	f.Add(`a="`, "0", "-1", "*")
	f.Fuzz(func(t *testing.T, control, date, age, vary string) {
		head := wire.Fields{
			{Name: "Cache-Control", Value: control}, {Name: "Expires", Value: date}, {Name: "Date", Value: date},
			{Name: "Age", Value: age}, {Name: "Vary", Value: vary}, {Name: "ETag", Value: date}, {Name: "Last-Modified", Value: date},
		}
		rq := NewRequest("GET", head)
		m, why := Assess(rq, 200, head, epoch, epoch)
		if m.Lifetime < 0 || m.Lifetime > maxDelta || m.InitialAge < 0 || why != None && m.Lifetime != 0 {
			t.Fatalf("lifetime %v, age %v, %v", m.Lifetime, m.InitialAge, why)
		}
		o := &Object{Meta: m}
		Evaluate(m, 10, rq)
		if d := Decide(o, rq, epoch); d.Action == Serve && why != None {
			t.Fatalf("served what was refused for %v", why)
		}
		Freshen(o, rq, head, epoch, epoch)
	})
}
