package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/health"
	"ringfence/proxy/upstream/discover"
	"ringfence/proxy/wire"
)

// walkOf is the servers' ids in the order of the walk of hash 0.
func walkOf(p *Pool) string {
	var ids []byte
	for w := p.set.Load().all.Walk(0); ; {
		m, ok := w.Next()
		if !ok {
			return string(ids)
		}
		ids = append(ids, p.set.Load().members[m].id...)
	}
}

// TestWalk is how a request moves from server to server. The scripts belong to
// the places of its walk: the first is that of the server which owns its key.
func TestWalk(t *testing.T) {
	const absent = "absent"
	answers := map[string]func(*peer){
		"fine":    always(text("hello")),
		"hangs":   func(p *peer) { p.request() },
		"resets":  func(p *peer) { p.request(); p.reset() },
		"garbage": func(p *peer) { p.request(); p.send("?\r\n\r\n"); p.hold() },
		"silent":  func(p *peer) { p.request(); p.hold() },
		"fails":   always("HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello"),
		"partial": func(p *peer) { p.request(); p.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello") },
	}
	body := func(s string) *Request { return post(io.NopCloser(strings.NewReader(s)), int64(len(s))) }
	for _, tt := range []struct {
		servers string
		req     *Request
		asked   int // servers that were tried, in the order of the walk
		kind    Kind
		unsent  bool
	}{
		{"fine fine fine", get("GET"), 1, none, false},
		{"absent fine fine", get("GET"), 2, none, false},
		{"absent absent fine", get("POST"), 3, none, false},
		{"absent absent fine", body("payload"), 3, none, false},
		{"absent absent absent fine", get("GET"), 3, Refused, true},
		{"absent absent", get("GET"), 2, Refused, true},
		{"hangs fine", get("GET"), 2, none, false},
		{"resets fine", get("HEAD"), 2, none, false},
		{"hangs resets fine", get("PUT"), 3, none, false},
		{"hangs absent fine", get("DELETE"), 3, none, false},
		{"hangs fine", get("POST"), 1, Terminated, false},
		{"resets fine", get("PATCH"), 1, Terminated, false},
		{"hangs fine", body("payload"), 1, Terminated, false},
		{"absent hangs fine", body("payload"), 2, Terminated, false},
		{"hangs fine", &Request{Method: "PUT", Target: "/", Body: io.NopCloser(strings.NewReader("x")), Length: 1}, 1, Terminated, false},
		{"hangs fine", &Request{Method: "PUT", Target: "/", Body: io.NopCloser(strings.NewReader("")), Length: 0}, 2, none, false},
		{"hangs fine", get("get"), 1, Terminated, false},
		{"garbage fine", get("GET"), 1, Protocol, false},
		{"silent fine", get("GET"), 1, ReadTimeout, false},
		{"fails fine", get("GET"), 1, none, false},
		{"partial fine", get("GET"), 1, Incomplete, false},
	} {
		t.Run(tt.servers+" "+tt.req.Method, func(t *testing.T) {
			kinds := strings.Fields(tt.servers)
			addrs := make([]string, len(kinds))
			for i := range addrs {
				addrs[i] = refused(t)
			}
			walk := walkOf(pool(t, nil, addrs...))
			for i, kind := range kinds {
				if kind != absent {
					addrs[walk[i]-'a'] = newOrigin(t, answers[kind]).addr()
				}
			}
			p := pool(t, func(o *Options) {
				if tt.kind == ReadTimeout {
					o.ResponseTimeout = 50 * time.Millisecond
				}
			}, addrs...)
			resp, got, err := roundTrip(t.Context(), p, tt.req)
			if tt.kind != none {
				wantKind(t, err, tt.kind)
				var e *Error
				if !errors.As(err, &e) || e.Unsent != tt.unsent || e.Server != walk[tt.asked-1:tt.asked] {
					t.Errorf("got %+v; want unsent %v, by server %s", e, tt.unsent, walk[tt.asked-1:tt.asked])
				}
			} else {
				want := "hello"
				if tt.req.Method == "HEAD" {
					want = ""
				}
				if err != nil || got != want || resp.Attempts != tt.asked || resp.Server != walk[tt.asked-1:tt.asked] {
					t.Fatalf("got %q, %v by %+v", got, err, resp)
				}
			}
			for i, s := range walk {
				st := p.Stats().Servers[s-'a']
				if asked := i < tt.asked; (st.Requests == 1) != asked || st.Requests > 1 {
					t.Errorf("place %d was asked %d times", i, st.Requests)
				}
			}
		})
	}
}

// TestBodyArrivesAfterMoving: a body that no server began to take goes whole to
// the next.
func TestBodyArrivesAfterMoving(t *testing.T) {
	got := make(chan string, 1)
	o := newOrigin(t, func(p *peer) {
		r, _ := p.request()
		got <- r.body
		p.send(text(""))
		p.hold()
	})
	p := pool(t, nil, refused(t), o.addr())
	for hash := uint64(0); ; hash++ { // a key of the absent server
		w := p.set.Load().all.Walk(hash)
		if m, _ := w.Next(); m == 0 {
			req := post(io.NopCloser(strings.NewReader("payload")), wire.Chunked)
			req.Hash = hash
			if resp, _, err := roundTrip(t.Context(), p, req); err != nil || resp.Attempts != 2 {
				t.Fatal(err)
			}
			break
		}
	}
	if s := <-got; s != "payload" {
		t.Errorf("got %q", s)
	}
}

func TestBusyServerPassesItsKeysOn(t *testing.T) {
	a, b := newOrigin(t, always(text("hello"))), newOrigin(t, always(text("hello")))
	p := pool(t, func(o *Options) { o.MaxRequests = 1 }, a.addr(), b.addr())
	first, err := p.Do(t.Context(), get("GET"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Body.Close()
	second := mustGet(t, p, "hello")
	if second.Server == first.Server || second.Attempts != 1 {
		t.Errorf("server %s after %s, %d attempts", second.Server, first.Server, second.Attempts)
	}
}

func TestConnectTimeout(t *testing.T) {
	p := pool(t, func(o *Options) { o.ConnectTimeout = 50 * time.Millisecond }, deaf(t))
	_, _, err := roundTrip(t.Context(), p, get("GET"))
	wantKind(t, err, ConnectTimeout)
	if _, unsent := kindOf(err); !unsent {
		t.Error("it counts as sent")
	}
}

func TestNoServerHasWeight(t *testing.T) {
	p := pool(t, func(o *Options) { o.Discover.Entries[0].Weight = 0 }, refused(t))
	_, err := p.Do(t.Context(), get("GET"))
	wantKind(t, err, Unavailable)
}

// TestPlacement: the hash decides, or the key.
func TestPlacement(t *testing.T) {
	for _, balance := range []Balance{Hash, Ketama} {
		var addrs []string
		for range 3 {
			addrs = append(addrs, newOrigin(t, always(text("hello"))).addr())
		}
		p := pool(t, func(o *Options) { o.Balance = balance }, addrs...)
		byHash, byTarget, used := map[uint64]string{}, map[string]string{}, map[string]bool{}
		for i := range 90 {
			req := get("GET")
			req.Hash, req.Target = p.set.Load().all.Hash([]byte{byte(i % 9)}), fmt.Sprintf("/%d", i%10)
			if balance == Ketama {
				req.Key = req.Target
			}
			resp, _, err := roundTrip(t.Context(), p, req)
			if err != nil {
				t.Fatal(err)
			}
			used[resp.Server] = true
			was, ok := byHash[req.Hash], i >= 9
			if balance == Ketama {
				was, ok = byTarget[req.Target], i >= 10
			}
			if ok && was != resp.Server {
				t.Errorf("balance %d: %s with hash %d moved from %s to %s", balance, req.Target, req.Hash, was, resp.Server)
			}
			byHash[req.Hash], byTarget[req.Target] = resp.Server, resp.Server
		}
		if len(used) < 2 {
			t.Errorf("balance %d: all keys are on %v", balance, used)
		}
	}
}

// logged passes on the messages of a log.
type logged chan string

func (l logged) Enabled(context.Context, slog.Level) bool { return true }
func (l logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l logged) WithGroup(string) slog.Handler            { return l }
func (l logged) Handle(_ context.Context, r slog.Record) error {
	l <- r.Message
	return nil
}

// TestEjection: an ejected server gets nothing, gets its keys back when it
// recovers, and where all are ejected requests are sent all the same.
func TestEjection(t *testing.T) {
	var sick [2]atomic.Bool
	addrs := make([]string, 2)
	for i := range addrs {
		addrs[i] = newOrigin(t, func(p *peer) {
			for {
				r, ok := p.request()
				switch {
				case !ok:
					return
				case r.target == "/healthz" && sick[i].Load():
					p.send("HTTP/1.1 500 Sick\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
					return
				case r.target == "/healthz":
					p.send("HTTP/1.1 200 Fine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
					return
				}
				p.send(text("hello"))
			}
		}).addr()
	}
	log := make(logged, 100)
	p := pool(t, func(o *Options) {
		o.Log = slog.New(log)
		o.Check = &health.Check{Path: "/healthz", Interval: 50 * time.Millisecond, Timeout: 50 * time.Millisecond, Rise: 1, Fall: 1}
	}, addrs...)
	await := func(want string) {
		t.Helper()
		soon(t, func() {
			for m := range log {
				if m == want {
					return
				}
			}
		})
	}
	owner := int(walkOf(p)[0] - 'a')
	ask := func(want int) {
		t.Helper()
		if resp := mustGet(t, p, "hello"); resp.Server != p.set.Load().members[want].id || resp.Attempts != 1 {
			t.Errorf("server %s answered at attempt %d, want %s", resp.Server, resp.Attempts, p.set.Load().members[want].id)
		}
	}
	ask(owner)
	sick[owner].Store(true)
	await("server ejected")
	ask(1 - owner)
	if st := p.Stats(); isUp(st, owner) || !isUp(st, 1-owner) || st.Panics != 0 {
		t.Errorf("after an ejection: %+v", st)
	}
	sick[1-owner].Store(true)
	await("too few servers are fit: health is disregarded")
	ask(owner)
	if st := p.Stats(); st.Panics != 1 {
		t.Errorf("%d requests in spite of all, want 1", st.Panics)
	}
	sick[owner].Store(false)
	await("server restored")
	ask(owner)
	sick[1-owner].Store(false)
	await("server restored")
	ask(owner)
	if st := p.Stats(); !isUp(st, 0) || !isUp(st, 1) || st.Panics != 1 {
		t.Errorf("at the end: %+v", st)
	}
}

func isUp(st Stats, i int) bool { return st.Servers[i].Health.Standing == health.Live }

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"no servers":   {Discover: discover.Options{Entries: []discover.Entry{}}},
		"bad address":  {Discover: discover.Options{Entries: []discover.Entry{{Address: "h"}}}},
		"bad check":    {Check: &health.Check{Path: "x"}},
		"small head":   {MaxHeadSize: minHead - 1},
		"no attempts":  {Retry: Retry{Attempts: -1}},
		"bad limits":   {Concurrency: &health.Limits{Min: -1}},
		"bad ejection": {Ejection: health.Ejection{Consecutive: -1}},
		"bad tls":      {TLS: &TLSOptions{CA: PEM{Text: []byte("x")}}},
	} {
		o.Name = "app"
		if o.Retry.Attempts == 0 {
			o.Retry.Attempts = 1
		}
		if o.Discover.Entries == nil {
			o.Discover.Entries = []discover.Entry{{ID: "a", Address: "h:1", Weight: 1}}
		}
		if o.MaxHeadSize == 0 {
			o.MaxHeadSize = minHead
		}
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), "upstream app") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestSeededChaos sends many requests at once to servers that do whatever they
// like, and cancels some. Whatever comes, an answer that looks complete is one
// server's whole answer to that very request, and the counters add up.
func TestSeededChaos(t *testing.T) {
	script := func(seed uint64) func(*peer) {
		return func(p *peer) {
			rnd := rand.New(rand.NewPCG(seed, uint64(p.n)))
			for {
				r, ok := p.request()
				if !ok || r.err != nil {
					return
				}
				answer := r.target + " " + r.body
				whole := text(answer)
				if rnd.IntN(2) == 0 {
					whole = fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(answer), answer)
				}
				switch rnd.IntN(12) {
				case 0:
					return
				case 1:
					p.reset()
					return
				case 2:
					p.send(whole[:rnd.IntN(len(whole))])
					return
				case 3:
					p.send(whole + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				case 4:
					p.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + answer)
					return
				default:
					p.send(whole)
				}
			}
		}
	}
	addrs := []string{newOrigin(t, script(1)).addr(), newOrigin(t, script(2)).addr(), refused(t)}
	p := pool(t, func(o *Options) { o.MaxConnections = 6 }, addrs...)
	var clients sync.WaitGroup
	var whole atomic.Int64
	for i := range 8 {
		clients.Go(func() {
			rnd := rand.New(rand.NewPCG(3, uint64(i)))
			for j := range 100 {
				ctx, cancel := context.WithCancel(t.Context())
				req := get("GET")
				req.Hash, req.Target = rnd.Uint64(), fmt.Sprintf("/%d/%d", i, j)
				body := ""
				if rnd.IntN(3) == 0 {
					body = long(rnd.IntN(100 << 10))
					req = &Request{
						Method: "POST", Target: req.Target, Hash: req.Hash, Length: []int64{int64(len(body)), wire.Chunked}[rnd.IntN(2)],
						Body: io.NopCloser(strings.NewReader(body)),
					}
				}
				if rnd.IntN(10) == 0 {
					go cancel()
				}
				resp, got, err := roundTrip(ctx, p, req)
				if kind, _ := kindOf(err); err != nil && kind == "" {
					t.Errorf("an error without a kind: %v", err)
				}
				// A body that ends with its connection may end early, unseen.
				if want := req.Target + " " + body; err == nil && resp.Length != wire.UntilClose && got != want {
					t.Errorf("got %.60q, want %.60q", got, want)
				}
				if err == nil {
					whole.Add(1)
				}
				cancel()
			}
		})
	}
	soon(t, clients.Wait)
	if whole.Load() < 400 {
		t.Errorf("only %d of 800 requests were answered", whole.Load())
	}
	var counted []Kind
	for _, s := range p.Stats().Servers {
		for k := range s.Failures {
			counted = append(counted, k)
		}
	}
	for _, k := range []Kind{Refused, Terminated, Incomplete, Canceled} {
		if !slices.Contains(counted, k) {
			t.Errorf("no %v in all the chaos: %v", k, counted)
		}
	}
}
