package proxy

import (
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/origin"
	"ringfence/proxy/wire"
)

// counted fails unless each of n requests was counted once, by what answered it.
func (s *site) counted(n uint64) {
	s.t.Helper()
	v := s.h.View().Requests
	sum := v.Hits + v.Refused
	for _, f := range v.Forwarded {
		sum += f
	}
	if sum != n {
		s.t.Errorf("%d requests are counted as %d: %+v", n, sum, v)
	}
}

// idle waits until no fill is under way.
func (s *site) idle() {
	s.t.Helper()
	waitFor(s.t, "the fills to end", func() bool { return s.h.View().Flights.Flights == 0 })
}

// entry is what the store has for a path.
func (s *site) entry(path string) *entry {
	s.t.Helper()
	var k keys
	fields := wire.Fields{{Name: "Host", Value: "x"}}
	k.build(s.h.snap.Load().routes[0], target{scheme: "http", authority: "x", path: path}, fields)
	e, _ := s.h.find(&k, fields, time.Now())
	return e
}

// stale is stored, needs revalidation, and may stand in for a failing upstream.
func stale(body string) origin.Answer {
	return origin.Text("max-age=60, stale-if-error=3600", body).With("Age", "90").With("ETag", `"1"`)
}

// An upstream that fails is asked once, whoever asks: all who wait for that are
// answered from what is stored, those who come in the next moment do not wait,
// and once it is back it is noticed.
func TestFailingUpstream(t *testing.T) {
	const clients = 20
	for name, tt := range map[string]struct {
		failure origin.Answer
		fields  []string
		retries int
	}{
		"503":                {origin.Answer{Status: 503}, nil, 0},
		"503, credentials":   {origin.Answer{Status: 503}, []string{"Cookie: a=1"}, 0},
		"503, private":       {origin.Answer{Status: 503}.With("Cache-Control", "private"), nil, 0},
		"503 sets a cookie":  {origin.Answer{Status: 503}.With("Set-Cookie", "a=1"), nil, 0},
		"500 to other words": {origin.Answer{Status: 500}.With("Vary", "X-N"), nil, 0},
		"range":              {origin.Answer{Status: 503}, []string{"Range: bytes=0-2"}, 0},
		"hang-up":            {origin.Answer{Raw: []byte{}, Ending: origin.Drop}, nil, 2}, // on another connection, and by another request
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for the pause to be over
			var down atomic.Bool
			hold := make(chan struct{})
			s := newSite(t, func(origin.Request) origin.Answer {
				if !down.Load() {
					return stale("old")
				}
				a := tt.failure
				a.Hold = hold
				return a
			}, func(o *Options) { o.Routes[0].RangeFill = 1 << 20 })
			s.get("/")
			s.stored(1)
			down.Store(true)
			began := time.Now()
			waiting := make([]<-chan reply, clients)
			for i := range waiting {
				waiting[i] = s.begin("/", tt.fields...)
			}
			s.waiting(clients)
			close(hold)
			for _, ch := range waiting {
				if r := <-ch; r.status/100 != 2 || r.body != "old" || !r.says("stale-if-error") {
					t.Errorf("who waited got %s", r)
				}
			}
			for range clients {
				if r := s.get("/", tt.fields...); r.body != "old" || !r.says("hit") {
					t.Errorf("who came later got %s", r)
				}
			}
			s.counted(1 + 2*clients)
			// Attempts come at most once in a pause, here in the background.
			most := 2 + tt.retries + int(time.Since(began)/renewPause)
			if n := s.o.Record().Total; n > most {
				t.Errorf("origin was asked %d times, want %d", n, most)
			}
			down.Store(false)
			waitFor(t, "the upstream to be back", func() bool {
				s.get("/", tt.fields...)
				return !s.entry("/").failing.Load()
			})
		})
	}
}

// Nor does a HEAD, or what else is passed on, tell of the failure where
// something stored can answer.
func TestStaleInPlaceOfPassed(t *testing.T) {
	for name, tt := range map[string]struct {
		method, control string
		status          int // of what the origin answers then
		want            string
	}{
		"HEAD":                       {"HEAD", "", 503, "stale-if-error"},
		"range":                      {"GET", "", 502, "stale-if-error"},
		"HEAD, an answer":            {"HEAD", "", 404, "fwd=stale"},
		"HEAD, a failure that lasts": {"HEAD", "max-age=60", 503, "fwd=stale"},
		"POST":                       {"POST", "", 503, "method"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(r origin.Request) origin.Answer {
				if r.Get("X-First") != "" {
					return stale("old")
				}
				a := origin.Answer{Status: tt.status}
				if tt.control != "" {
					a = a.With("Cache-Control", tt.control)
				}
				return a
			})
			s.get("/", "X-First: 1")
			s.stored(1)
			r := s.do(tt.method, "/", "Range: bytes=0-2", "Content-Length: 0")
			if tt.want != "stale-if-error" && r.status != tt.status || tt.want == "stale-if-error" && r.status/100 != 2 || !r.says(tt.want) {
				t.Errorf("got %s", r)
			}
			s.counted(2)
		})
	}
}

// While one request renews what is stale, all others are answered at once.
func TestManyClientsOfARenewal(t *testing.T) {
	const clients = 50
	hold := make(chan struct{})
	s := newSite(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=60, stale-while-revalidate=3600", "old").With("Age", "90")
		if r.Get("X-First") == "" {
			a = origin.Text("max-age=60", "new")
			a.Hold = hold
		}
		return a
	})
	s.get("/", "X-First: 1")
	s.stored(1)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			if r := s.get("/"); r.body != "old" || !r.says("hit") || !r.says("stale-while-revalidate") {
				t.Errorf("got %s", r)
			}
		})
	}
	all.Wait()
	// One that accepts nothing stale joins the renewal.
	strict := s.begin("/", "Cache-Control: max-age=10")
	s.waiting(1)
	close(hold)
	if r := <-strict; r.body != "new" || !r.says("collapsed") {
		t.Errorf("who could not be answered got %s", r)
	}
	s.stored(2)
	if r := s.get("/"); r.body != "new" || !r.says("hit") {
		t.Errorf("then %s", r)
	}
	if v := s.h.View().Requests; s.o.Record().Total != 2 || v.Renewals != 1 {
		t.Errorf("origin was asked %d times, by %d renewals", s.o.Record().Total, v.Renewals)
	}
	s.counted(clients + 3)
	if n := s.h.View().Requests.Hits; n != clients+1 {
		t.Errorf("%d hits", n)
	}
}

// However an attempt in the background ends, the next one has its turn, and what
// is known of the upstream is what it did last.
func TestTurnComesBack(t *testing.T) {
	swr := origin.Text("max-age=60, stale-while-revalidate=3600", "old").With("Age", "90")
	for name, tt := range map[string]struct {
		second origin.Answer
		fails  bool
		breaks func(s *site)
	}{
		"renewed":   {origin.Text("max-age=60", "new"), false, nil},
		"personal":  {origin.Text("private", "new"), false, nil},
		"failed":    {origin.Answer{Status: 503}, true, nil},
		"cut":       {origin.Answer{Size: 1 << 20, Cut: true, CutAfter: 10}.With("Cache-Control", "max-age=60"), false, nil},
		"no answer": {origin.Answer{Raw: []byte{}, Ending: origin.Drop}, true, nil},
		"panic":     {origin.Answer{}, true, func(s *site) { s.h.snap.Load().routes[0].Upstream = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(r origin.Request) origin.Answer {
				if r.Get("X-First") != "" {
					return swr
				}
				return tt.second
			})
			s.get("/", "X-First: 1")
			s.stored(1)
			s.idle() // else the renewal joins the first fill's end
			e := s.entry("/")
			e.failing.Store(name != "failed" && name != "no answer")
			if tt.breaks != nil {
				tt.breaks(s)
			}
			if r := s.get("/"); r.body != "old" {
				t.Fatalf("got %s", r)
			}
			s.idle()
			if turn := e.turn.Load(); turn == 0 || turn == math.MaxInt64 {
				t.Errorf("the turn is %d", turn)
			}
			if e.failing.Load() != tt.fails {
				t.Errorf("failing is %v", !tt.fails)
			}
			e.turn.Store(0)
			if r := s.get("/"); !strings.Contains("old new", r.body) {
				t.Errorf("then %s", r)
			}
			s.idle()
		})
	}
	t.Run("refused", func(t *testing.T) {
		hold := make(chan struct{})
		s := newSite(t, func(r origin.Request) origin.Answer {
			if r.Target == "/" {
				return swr
			}
			return origin.Answer{Hold: hold}
		}, func(o *Options) { o.MaxFills = 1 })
		s.get("/")
		s.stored(1)
		s.idle()
		other := s.begin("/other")
		s.reached(2)
		s.get("/")
		if turn := s.entry("/").turn.Load(); turn == 0 || turn == math.MaxInt64 {
			t.Errorf("the turn is %d", turn)
		}
		close(hold)
		<-other
	})
}

// An upstream that does not answer at all is waited for by nobody for longer
// than WaitTimeout, where something stored may stand in; those who come later do
// not wait.
func TestSilentUpstream(t *testing.T) {
	t.Parallel()
	var silent atomic.Bool
	hold := make(chan struct{})
	s := newSite(t, func(origin.Request) origin.Answer {
		if !silent.Load() {
			return stale("old")
		}
		return origin.Answer{Body: []byte("new"), Hold: hold}.With("Cache-Control", "max-age=60")
	}, func(o *Options) { o.WaitTimeout = 100 * time.Millisecond })
	s.get("/")
	s.stored(1)
	silent.Store(true)
	first, second := s.begin("/"), s.begin("/")
	for _, r := range []reply{<-first, <-second, s.get("/"), s.get("/")} {
		if r.status != 200 || r.body != "old" || !r.says("stale-if-error") {
			t.Errorf("got %s", r)
		}
	}
	if n := s.o.Count("/").Total; n != 2 {
		t.Errorf("the origin was asked %d times, want 2", n)
	}
	close(hold)
	s.stored(2)
	if r := s.get("/"); r.body != "new" {
		t.Errorf("once the answer is there: %s", r)
	}
}
