package proxy

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ringfence/loadtest/origin"
	"ringfence/proxy/cache"
)

// Once an unsafe request was answered nobody sees what was there before it,
// whatever fills are under way: not under its own target, in no variant, and
// under no other target that its answer names.
func TestInvalidationRacesFills(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			var version atomic.Int64
			s := newSite(t, func(r origin.Request) origin.Answer {
				if r.Method == "POST" {
					version.Add(1)
					a := origin.Answer{Status: 201}.With("Location", "/a?u=9&x=1").With("Content-Location", "http://X:80/b")
					return a.With("Cache-Group-Invalidation", `"g"`)
				}
				a := origin.Text("max-age=60", strconv.FormatInt(version.Load(), 10))
				if strings.HasPrefix(r.Target, "/a") {
					a = a.With("Vary", "X-V")
				}
				if r.Target == "/g" {
					a = a.With("Cache-Groups", `"f", "g"`)
				}
				if r.Get("X-Etag") != "" {
					a = a.With("ETag", `"`+string(a.Body)+`"`)
				}
				return a
			}, func(o *Options) {
				o.Routes[0].Query = &QueryRules{Drop: []string{"u"}}
				o.MaxVariants = 2
				o.Routes[0].Key = append([]KeyPart{{kind: keyHeader, name: "X-K"}}, o.Routes[0].Key...)
			})
			var acked atomic.Int64
			var all sync.WaitGroup
			done := make(chan struct{})
			for client := range uint64(6) {
				all.Go(func() {
					rng := rand.New(rand.NewPCG(seed, client))
					for {
						select {
						case <-done:
							return
						default:
						}
						least := acked.Load()
						path := [...]string{"/a?x=1", "/a?u=2&x=1", "/b", "/c", "/g"}[rng.IntN(5)]
						fields := []string{fmt.Sprintf("X-V: %d", rng.IntN(3)), fmt.Sprintf("X-K: %d", rng.IntN(2))}
						for _, f := range []string{"Cache-Control: no-cache", "Authorization: a", "Range: bytes=0-", "X-Etag: 1"} {
							if rng.IntN(6) == 0 {
								fields = append(fields, f)
							}
						}
						r := s.get(path, fields...)
						got, err := strconv.ParseInt(r.body, 10, 64)
						if err != nil || got < least {
							t.Errorf("%s %v: version %s, after %d was answered: %s", path, fields, r.body, least, r)
						}
					}
				})
			}
			for range 60 {
				if r := s.do("POST", "/c?u=3", "Content-Length: 0"); r.status != 201 {
					t.Errorf("POST: %s", r)
				}
				acked.Store(version.Load())
			}
			close(done)
			all.Wait()
		})
	}
}

// Who comes after a group was invalidated does not join a fill of it that is
// under way, be it for the whole or a confirmation.
func TestInvalidatedGroupUnderWay(t *testing.T) {
	for _, confirms := range []bool{false, true} {
		gate := make(chan struct{})
		s := newSite(t, func(r origin.Request) origin.Answer {
			a := origin.Text("max-age=60", "first").With("Cache-Groups", `"g"`).With("ETag", `"1"`)
			switch {
			case r.Method == "POST":
				return origin.Answer{}.With("Cache-Group-Invalidation", `"g"`)
			case r.Get("X-N") != "":
				a.Body = []byte(r.Get("X-N"))
			case r.Get("If-None-Match") != "":
				a.Status, a.Hold = 304, gate
			default:
				a.Chunk, a.Gate = 1, gate
			}
			if confirms && r.Get("If-None-Match") == "" {
				a.Gate = nil
			}
			return a
		})
		before, with := s.begin("/"), (<-chan reply)(nil)
		if confirms {
			<-before
			s.stored(1)
			before = s.begin("/", "Cache-Control: no-cache")
			s.waiting(1)
			with = s.begin("/", "Cache-Control: no-cache", "X-N: with")
			s.waiting(2)
		} else {
			waitFor(t, "the head", func() bool { return s.h.View().Requests.Forwarded[cache.Miss] == 1 })
		}
		s.do("POST", "/other", "Content-Length: 0")
		after := s.begin("/", "X-N: second")
		if confirms {
			s.waiting(3)
		} else if r := <-after; r.body != "second" {
			t.Errorf("who came after it got %s", r)
		}
		close(gate)
		if r := <-before; r.body != "first" {
			t.Errorf("who came before it got %s", r)
		}
		if confirms {
			if r := <-with; r.body != "first" || !r.says("collapsed") {
				t.Errorf("who came with that one got %s", r)
			}
			if r := <-after; r.body != "second" {
				t.Errorf("who came after the question was asked got %s", r)
			}
		}
		s.idle()
	}
}

// However many fills of variants end at once, no more than the bound stay.
func TestVariantsBeyondTheBound(t *testing.T) {
	for seed := range uint64(3) {
		s := newSite(t, func(r origin.Request) origin.Answer {
			if r.Get("If-None-Match") != "" {
				return origin.Answer{Status: 304}
			}
			return origin.Text("max-age=60", r.Get("X-V")).With("Vary", "X-V").With("ETag", `"1"`)
		}, func(o *Options) { o.MaxVariants = 3 })
		var all sync.WaitGroup
		for client := range uint64(8) {
			all.Go(func() {
				rng := rand.New(rand.NewPCG(seed, client))
				for range 60 {
					v, fields := rng.IntN(8), []string{}
					if rng.IntN(3) == 0 {
						fields = append(fields, "Cache-Control: no-cache")
					}
					if r := s.get("/", append(fields, fmt.Sprintf("X-V: %d", v))...); r.body != strconv.Itoa(v) {
						t.Errorf("variant %d: %s", v, r)
					}
				}
			})
		}
		all.Wait()
		s.idle()
		if n := s.h.View().Memory.Entries; n > 3 {
			t.Errorf("%d variants stay", n)
		}
	}
}

// A variant that gave way while it was validated counts once more.
func TestConfirmedVariantIsAdmittedAgain(t *testing.T) {
	hold := make(chan struct{})
	s := newSite(t, func(r origin.Request) origin.Answer {
		if r.Get("If-None-Match") != "" {
			return origin.Answer{Status: 304, Hold: hold}
		}
		return origin.Text("max-age=60", r.Get("X-V")).With("Vary", "X-V").With("ETag", `"1"`)
	}, func(o *Options) { o.MaxVariants = 1 })
	s.get("/", "X-V: 1")
	s.stored(1)
	confirmed := s.begin("/", "X-V: 1", "Cache-Control: no-cache")
	s.reached(2)
	s.get("/", "X-V: 2")
	s.storedBeside(1, 2)
	close(hold)
	<-confirmed
	s.idle()
	if n := s.h.View().Memory.Entries; n != 1 {
		t.Errorf("%d variants stay", n)
	}
	if r := s.get("/", "X-V: 1"); !r.says("hit") {
		t.Errorf("the one that was confirmed: %s", r)
	}
}

// Of two fills of one key, the response that came later stays, whichever ends
// last.
func TestOlderResponseDoesNotReplaceNewer(t *testing.T) {
	t.Run("slow body", func(t *testing.T) {
		gate := make(chan struct{})
		s := newSite(t, func(r origin.Request) origin.Answer {
			if r.Get("Authorization") != "" {
				return origin.Answer{Body: []byte("old"), Chunk: 1, Gate: gate}.With("Cache-Control", "public, max-age=60")
			}
			return origin.Text("max-age=60", "new")
		})
		old := s.begin("/", "Authorization: a")
		waitFor(t, "the head", func() bool { return s.h.View().Requests.Forwarded[cache.Miss] == 1 })
		s.get("/")
		s.storedBeside(1, 1)
		close(gate)
		if r := <-old; r.body != "old" {
			t.Errorf("its own client got %s", r)
		}
		s.idle()
		if r := s.get("/"); r.body != "new" {
			t.Errorf("then %s", r)
		}
	})
	t.Run("late 304", func(t *testing.T) {
		hold := make(chan struct{})
		s := newSite(t, func(r origin.Request) origin.Answer {
			switch {
			case r.Get("Authorization") != "":
				return origin.Answer{Status: 304, Hold: hold}.With("Cache-Control", "public, max-age=60")
			case r.Get("If-None-Match") != "":
				return origin.Text("max-age=60", "new")
			}
			return origin.Text("max-age=60", "old").With("ETag", `"1"`)
		})
		s.get("/")
		s.stored(1)
		old := s.begin("/", "Authorization: a", "Cache-Control: no-cache")
		s.reached(2)
		s.get("/", "Cache-Control: no-cache")
		s.storedBeside(1, 2)
		close(hold)
		<-old
		s.idle()
		if r := s.get("/"); r.body != "new" {
			t.Errorf("then %s", r)
		}
	})
}
