package simulate

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ringfence/loadtest/keys"
	"ringfence/loadtest/logs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func said(second int, target string, size int64) logs.Entry {
	return logs.Entry{At: time.Unix(int64(second), 0), Method: "GET", Target: target, Status: 200, Bytes: size}
}

func both() Options {
	return Options{Memory: []int64{100_000}, TTLs: []time.Duration{10 * time.Second}, Policies: Policies(), Servers: []int{2}}
}

// A small log whose figures can be counted by hand.
func TestByHand(t *testing.T) {
	post, private := said(4, "/a", 100), said(5, "/p", 100)
	post.Method, private.Status = "POST", 500
	entries := []logs.Entry{
		said(0, "/a", 100), said(1, "/a", 100), said(2, "/b?x", 50), said(3, "/b?y", 50), post, private,
		said(9, "/a", 100), said(10, "/a", 100), said(11, "/a", 100),
	}
	r, err := Run(entries, both())
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != 9 || r.Cacheable != 7 || r.Keys != 3 || r.Bytes != 200 {
		t.Errorf("%+v", r)
	}
	for _, c := range r.Caches { // a: miss, hit, hit, miss at 10 s, hit
		if c.Misses != 6 || c.HitRatio != 3.0/9 || c.ByteRatio != 300.0/800 {
			t.Errorf("%+v", c)
		}
	}
	if l := r.Rings[0]; l.All[0]+l.All[1] != 9 || l.Misses[0]+l.Misses[1] != 6 || l.All[0] < l.All[1] {
		t.Errorf("%+v", l)
	}
	o := both()
	o.ByPath = true
	if r, err = Run(entries, o); err != nil || r.Caches[0].Misses != 5 || r.Keys != 2 {
		t.Errorf("by path: %+v, %v", r.Caches, err)
	}
	o.Memory = []int64{99} // too small for /a
	if r, err = Run(entries, o); err != nil || r.Caches[1].Misses != 8 {
		t.Errorf("small: %+v, %v", r.Caches, err)
	}
}

func TestLRU(t *testing.T) {
	l := openLRU(30)
	for key := range 3 {
		l.put(key, 1, 10)
	}
	l.get(0)
	l.put(3, 1, 10) // in place of 1
	l.put(2, 5, 5)
	l.put(9, 1, 31)
	for key, want := range []bool{true, false, true, true} {
		if _, ok := l.get(key); ok != want {
			t.Errorf("key %d: %v", key, ok)
		}
	}
	if until, _ := l.get(2); until != 5 || l.used != 25 {
		t.Errorf("until %d, %d used", until, l.used)
	}
}

// zipf is a log of so many requests for keys by Zipf's law, of which a part is of a scan.
func zipf(t testing.TB, s float64, count, requests, scan int) (entries []logs.Entry) {
	t.Helper()
	source, err := keys.New(keys.Keys{Law: keys.Zipf, Count: count, S: s})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range requests {
		key := "/" + strconv.Itoa(source.Next(i, 0, r))
		if scan > 0 && i%scan == 0 {
			key = "/scan/" + strconv.Itoa(i)
		}
		entries = append(entries, logs.Entry{At: time.UnixMilli(int64(i)), Method: "GET", Target: key, Status: 200, Bytes: 1000})
	}
	return entries
}

// What is popular stays, whatever comes once. Of the look-ups ristretto counts those that
// its pools do not lose, which are few under the race detector: by how much it does
// better than LRU is for a run without to tell.
func TestScan(t *testing.T) {
	o := both()
	o.Memory, o.TTLs = []int64{1 << 20}, []time.Duration{time.Hour}
	r, err := Run(zipf(t, 1, 10_000, 100_000, 2), o)
	if err != nil {
		t.Fatal(err)
	}
	if own, lru := r.Caches[0], r.Caches[2]; own.HitRatio < 0.15 || own.HitRatio > 0.5 || lru.HitRatio < 0.25 || lru.HitRatio > 0.3 {
		t.Errorf("%s %.4f, %s %.4f", own.Policy, own.HitRatio, lru.Policy, lru.HitRatio)
	}
}

func TestRefuses(t *testing.T) {
	entries := []logs.Entry{said(0, "/", 1)}
	for want, change := range map[string]func(*Options){
		"want sizes":      func(o *Options) { o.Memory = nil },
		"ring: no member": func(o *Options) { o.Servers = []int{0} },
		"ristretto":       func(o *Options) { o.Memory = []int64{0} },
	} {
		o := both()
		change(&o)
		if _, err := Run(entries, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if Busiest([]int{0, 0}) != 0 || Busiest([]int{3, 1}) != 1.5 {
		t.Error("the busiest one")
	}
}
