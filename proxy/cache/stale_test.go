package cache

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestServesOnError(t *testing.T) {
	const (
		plain  = "Cache-Control: max-age=60"
		tagged = `|ETag: "a"`
		policy = 100 // seconds of StaleOnError
	)
	for _, c := range []struct {
		name, method, request, response string
		after                           int64 // seconds
		want                            bool
	}{
		{"in the policy's window", "GET", "", plain, 160, true},
		{"past it", "GET", "", plain, 161, false},
		{"HEAD", "HEAD", "", plain, 160, true},
		{"range", "GET", "Range: bytes=0-1", plain, 160, true},
		{"longer stale-if-error", "GET", "", plain + ", stale-if-error=1000", 1060, true},
		{"past longer stale-if-error", "GET", "", plain + ", stale-if-error=1000", 1061, false},
		{"shorter stale-if-error", "GET", "", plain + ", stale-if-error=5", 66, false},
		{"stale-if-error=0", "GET", "", plain + ", stale-if-error=0", 60, false},
		{"stale-if-error unreadable", "GET", "", plain + ", stale-if-error=x", 61, false},
		{"stale-if-error of the request, longer", "GET", "Cache-Control: stale-if-error=1000", plain, 1060, true},
		{"stale-if-error of the request, shorter", "GET", "Cache-Control: stale-if-error=5", plain, 66, false},
		{"stale-if-error of the request before the response's", "GET", "Cache-Control: stale-if-error=50", plain + ", stale-if-error=5", 90, true},
		{"stale-if-error of the request, unreadable", "GET", "Cache-Control: stale-if-error=x", plain, 61, false},
		{"the least of the request's", "GET", "Cache-Control: stale-if-error=5, stale-if-error=50", plain, 90, false},
		{"stale-if-error of the request, must-revalidate", "GET", "Cache-Control: stale-if-error=50", plain + ", must-revalidate", 61, false},
		{"must-revalidate", "GET", "", plain + ", stale-if-error=50, must-revalidate", 61, false},
		{"proxy-revalidate", "GET", "", plain + ", stale-if-error=50, proxy-revalidate", 61, false},
		{"s-maxage", "GET", "", "Cache-Control: s-maxage=60, stale-if-error=50", 61, false},
		{"must-revalidate, fresh", "GET", "Cache-Control: max-age=0", plain + ", must-revalidate", 59, true},
		{"no-cache response", "GET", "", plain + ", stale-if-error=50, no-cache" + tagged, 1, false},
		{"private field", "GET", "", plain + `, private="x", stale-if-error=50` + tagged, 1, false},
		{"no-cache", "GET", "Cache-Control: no-cache", plain, 1, false},
		{"Pragma", "GET", "Pragma: no-cache", plain, 1, false},
		{"no-store", "GET", "Cache-Control: no-store", plain, 61, false},
		{"max-age", "GET", "Cache-Control: max-age=1", plain, 61, true},
		{"min-fresh", "GET", "Cache-Control: min-fresh=100", plain, 1, true},
		{"body", "GET", "Content-Length: 1", plain, 61, false},
		{"If-Match", "GET", "If-Match: *", plain, 61, false},
		{"POST", "POST", "", plain, 61, false},
		{"quotes open", "GET", "", plain + `, stale-if-error=50, a="` + tagged, 1, false},
	} {
		p := &Policy{StaleOnError: policy * time.Second}
		m, why := Assess(p, get(t, ""), 200, lines(t, c.response), epoch, epoch)
		if why != None {
			t.Errorf("%s: not stored, %v", c.name, why)
		}
		now := epoch.Add(time.Duration(c.after) * time.Second)
		if got := ServesOnError(&Object{Meta: m}, NewRequest(p, c.method, lines(t, c.request)), now); got != c.want {
			t.Errorf("%s: %v after %d s", c.name, got, c.after)
		}
	}
	if ServesOnError(nil, get(t, ""), epoch) || ServesOnError(stored(t, plain), get(t, ""), epoch.Add(time.Minute)) {
		t.Error("served without an object, or without a window")
	}
	ignoring := NewRequest(&Policy{Ignore: DirectiveStaleIfError | DirectiveNoCache}, "GET", lines(t, "Cache-Control: stale-if-error=50, no-cache"))
	if o := stored(t, plain); ServesOnError(o, ignoring, epoch.Add(61*time.Second)) || !ServesOnError(o, ignoring, epoch) {
		t.Error("what is to be ignored counted")
	}
}

func TestFailsUpstream(t *testing.T) {
	for _, c := range []struct {
		status   int
		response string
		want     bool
	}{
		{500, "", true}, {502, "", true}, {503, "Retry-After: 9", true}, {504, "", true},
		{501, "", false}, {505, "", false}, {599, "", false}, {404, "", false}, {200, "", false},
		{503, "Cache-Control: max-age=60", false},
		{503, "CDN-Cache-Control: max-age=60", false},
		{503, "Expires: {60}", false},
		{503, "Cache-Control: max-age=0", true},
		{503, "Expires: 0", true},
		{503, "Cache-Control: no-store, max-age=60", true},
		{503, "Cache-Control: max-age=60|Age: 60", true},
	} {
		m, _ := Assess(&Policy{NegativeTTL: map[int]time.Duration{5: time.Minute}}, get(t, ""), c.status, lines(t, c.response), epoch, epoch)
		if got := FailsUpstream(m); got != c.want {
			t.Errorf("%d with %q: %v", c.status, c.response, got)
		}
	}
}

func TestKeepFor(t *testing.T) {
	for _, c := range []struct {
		response string
		after    int64
		want     int64
	}{
		{"Cache-Control: max-age=60", 0, 60},
		{"Cache-Control: max-age=60|Age: 20", 30, 10},
		{"Cache-Control: max-age=60", 70, 0},
		{"Cache-Control: max-age=60, stale-while-revalidate=30", 70, 20},
		{"Cache-Control: max-age=60, stale-if-error=50, stale-while-revalidate=30", 70, 40},
		{"Cache-Control: max-age=60, stale-if-error=50", 120, 0},
		{`Cache-Control: max-age=60|ETag: "a"`, 10, 3650},
		{`Cache-Control: max-age=60|ETag: "a"`, 100, 3600},
		{`Cache-Control: max-age=60, stale-if-error=9000|ETag: "a"`, 10, 9050},
	} {
		if got := stored(t, c.response).KeepFor(epoch.Add(time.Duration(c.after) * time.Second)); seconds64(got) != c.want {
			t.Errorf("%q after %d s: %v", c.response, c.after, got)
		}
	}
	m, _ := Assess(&Policy{StaleOnError: time.Hour}, get(t, ""), 200, lines(t, "Cache-Control: max-age=60"), epoch, epoch)
	if got := m.KeepFor(epoch); got != time.Hour+time.Minute {
		t.Errorf("with the policy's window: %v", got)
	}
}

// TestRefreshesEarly: over many cycles of one hot key, a request is chosen in
// each, near its end; a key that nobody asks for is left alone.
func TestRefreshesEarly(t *testing.T) {
	o := stored(t, "Cache-Control: max-age=60")
	o.FillTime = 100 * time.Millisecond
	r := rand.New(rand.NewPCG(1, 2))
	const rate, cycles = 1000, 200
	earliest, total := time.Duration(0), time.Duration(0)
	for range cycles {
		ttl := o.Lifetime
		for ttl > 0 && !RefreshesEarly(o, ttl, 1-r.Float64()) {
			ttl -= time.Second / rate
		}
		earliest, total = max(earliest, ttl), total+ttl
		if ttl <= 0 {
			t.Error("nobody was chosen")
		}
	}
	// Of a key that is asked for so often somebody is chosen right at the
	// beginning of the window.
	if mean := total / cycles; mean < 190*time.Millisecond || mean > 200*time.Millisecond || earliest > o.EarlyWindow() {
		t.Errorf("%v before the end on average, %v at most", mean, earliest)
	}
	for name, c := range map[string]struct {
		fill, ttl time.Duration
		u         float64
		want      bool
	}{
		"certain":             {time.Second, time.Second, 0.3, true},
		"unlucky":             {time.Second, time.Second, 0.4, false},
		"u is 1":              {time.Second, time.Nanosecond, 1, false},
		"too far out":         {time.Second, 2 * time.Second, 1e-300, false},
		"just near enough":    {time.Second, 2*time.Second - 1, 1e-300, true},
		"half of its life":    {time.Minute, 30 * time.Second, 1e-300, false},
		"in the second half":  {time.Minute, 29 * time.Second, 1e-300, true},
		"stale":               {time.Second, 0, 1e-300, false},
		"fill time not known": {0, time.Nanosecond, 1e-300, false},
	} {
		o.FillTime = c.fill
		if got := RefreshesEarly(o, c.ttl, c.u); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
