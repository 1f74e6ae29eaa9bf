package proxy

import (
	"strings"
	"sync"
	"testing"

	"ringfence/loadtest/origin"
)

// lastOf returns the latest request that the site's origin got.
func (s *site) lastOf() origin.Request {
	s.t.Helper()
	rs := s.o.Record().Requests
	return rs[len(rs)-1]
}

func withIDs(o *Options) { o.RequestID = "X-Request-Id" }

func trusting(list ...string) func(*Options) {
	return func(o *Options) { o.TrustedProxies = prefixes(list...) }
}

// Who was asked upstream for one client tells it the id; what is stored or
// shared has none, not even the upstream's echo.
func TestRequestIDs(t *testing.T) {
	s := newSite(t, func(r origin.Request) origin.Answer {
		a := origin.Text("max-age=60", "x").With("x-request-id", "echo")
		if strings.HasPrefix(r.Path(), "/pass") {
			a = origin.Text("no-store", "x").With("X-Request-Id", "echo").With("X-Request-Id", "twice")
		}
		return a
	}, withIDs)
	ids := map[string]bool{}
	for _, path := range []string{"/pass", "/pass", "/stored"} {
		r := s.get(path, "X-Request-Id: mine", "X_Request_Id: mine")
		got, sent := r.header["X-Request-Id"], s.lastOf().Values("X-Request-Id")
		if len(got) != 1 || len(sent) != 1 || got[0] != sent[0] || len(got[0]) != 32 || ids[got[0]] || s.lastOf().Get("X_Request_Id") != "" {
			t.Errorf("%s: the client got %q, the origin %q", path, got, sent)
		}
		ids[sent[0]] = true
	}
	s.stored(1)
	if r := s.get("/stored"); !r.says("hit") || r.header["X-Request-Id"] != nil {
		t.Errorf("a hit: %s", r)
	}
	if r := s.do("HEAD", "/stored", "Cache-Control: no-cache"); strings.Join(r.header["X-Request-Id"], "|") != s.lastOf().Get("X-Request-Id") {
		t.Errorf("a validation by HEAD: %s", r)
	}
	if r := s.get("/stored"); r.header["X-Request-Id"] != nil {
		t.Errorf("a hit after that: %s", r)
	}
	s.o.Stop()
	if r := s.get("/failed"); r.status != 502 || len(r.header.Get("X-Request-Id")) != 32 {
		t.Errorf("a failure: %s", r)
	}
}

// A request that is sent twice, here for a whole that turns out to be too large
// and then for the part, has one id.
func TestOneIDForTwoAttempts(t *testing.T) {
	s := newSite(t, always(origin.Text("max-age=60", strings.Repeat("x", 100))), withIDs, func(o *Options) { o.Routes[0].RangeFill = 10 })
	id := s.get("/", "Range: bytes=0-1").header.Get("X-Request-Id")
	rs := s.o.Record().Requests
	if len(rs) != 2 || id == "" || rs[0].Get("X-Request-Id") != id || rs[1].Get("X-Request-Id") != id {
		t.Errorf("the client got %q of %v", id, rs)
	}
}

// An id goes with the one request that went upstream, not with those who share
// its answer.
func TestFollowersHaveNoID(t *testing.T) {
	held := make(chan struct{})
	a := origin.Text("max-age=60", "x")
	a.Hold = held
	s := newSite(t, always(a), withIDs)
	one, two := s.begin("/"), s.begin("/")
	s.waiting(2)
	s.reached(1)
	close(held)
	id := s.lastOf().Get("X-Request-Id")
	n := 0
	for _, r := range []reply{<-one, <-two} {
		got := r.header["X-Request-Id"]
		if len(got) == 1 && got[0] == id && !r.says("collapsed") {
			n++
		} else if len(got) > 0 || !r.says("collapsed") {
			t.Errorf("%s, of %s", r, id)
		}
	}
	if n != 1 || id == "" {
		t.Errorf("%d clients know the id %q", n, id)
	}
}

// Without a name there are no ids, and the field is like any other.
func TestNoRequestIDs(t *testing.T) {
	s := newSite(t, always(origin.Text("max-age=60", "x").With("X-Request-Id", "echo")))
	r := s.get("/", "X-Request-Id: mine")
	if s.lastOf().Get("X-Request-Id") != "mine" || r.header.Get("X-Request-Id") != "echo" {
		t.Errorf("%s, of %v", r, s.lastOf().Fields)
	}
}

// An id, a scheme and an address are a trusted proxy's to say, and nobody
// else's.
func TestPeers(t *testing.T) {
	const said = "X-Request-Id: mine|X-Forwarded-Proto: https|X-Forwarded-For: 6.6.6.6, 192.0.2.1|X-Forwarded-Host: evil|X-Forwarded-Port: 1"
	for _, tt := range []struct {
		trusted, scheme, way, id string
	}{
		{"127.0.0.0/8", "https", "192.0.2.1, 127.0.0.1", "mine"},
		{"10.0.0.0/8", "http", "127.0.0.1", ""},
	} {
		s := newSite(t, always(origin.Text("max-age=60", "x")), withIDs, trusting(tt.trusted))
		for _, host := range []string{"x:443", "x:80"} {
			s.roundTrip("GET", "GET /"+host+" HTTP/1.1\r\nHost: "+host+"\r\n"+strings.ReplaceAll(said, "|", "\r\n")+"\r\n\r\n")
			r := s.lastOf()
			authority := host
			if tt.scheme == "https" == (host == "x:443") {
				authority = "x"
			}
			id := r.Get("X-Request-Id")
			if r.Get("X-Forwarded-Proto") != tt.scheme || r.Get("X-Forwarded-For") != tt.way || r.Get("Host") != authority ||
				strings.Join(r.Values("X-Forwarded-Host"), "|") != authority || r.Get("X-Forwarded-Port") != "" ||
				tt.id != "" && id != tt.id || tt.id == "" && len(id) != 32 {
				t.Errorf("trusting %s: %v", tt.trusted, r.Fields)
			}
		}
	}
}

// The scheme that a trusted proxy names is the one in the key.
func TestTrustedSchemeIsKeyed(t *testing.T) {
	s := newSite(t, func(r origin.Request) origin.Answer { return origin.Text("max-age=60", r.Get("X-Forwarded-Proto")) },
		trusting("127.0.0.1/32"))
	for i, scheme := range []string{"https", "http", "https", "http"} {
		r := s.get("/", "X-Forwarded-Proto: "+scheme)
		if r.body != scheme || r.says("hit") != (i > 1) {
			t.Errorf("%d: %s gets %s", i, scheme, r)
		}
		s.stored(uint64(min(i+1, 2)))
	}
}

// What a client is placed by is its own address, behind trusted proxies too.
func TestPlaceByTrustedClient(t *testing.T) {
	for _, tt := range []struct {
		trusted trust
		want    string
	}{{newTrust(prefixes("127.0.0.0/8")), "192.0.2.1"}, {nil, "127.0.0.1"}} {
		h := new(Handler)
		c := &call{h: h, snap: &snapshot{trusted: tt.trusted}, conn: testFront(h).listener(nil).Wrap(&loopConn{}), fields: fieldLines(t, "X-Forwarded-For: 192.0.2.1")}
		c.readPeer()
		c.identify()
		if p, _ := ParsePlaceBy("client"); p.of(c.target, c.fields, c.client()) != tt.want {
			t.Errorf("trusting %v: %v", tt.trusted, c.client())
		}
	}
}

// An answer that depends on who asks, as the proxy has told the upstream, is for
// nobody else; one that depends on what clients send themselves may be.
func TestVaryByIdentity(t *testing.T) {
	for vary, stored := range map[string]bool{
		"X-Forwarded-For": false, "accept, FORWARDED": false, "x-request-id": false, "X-Forwarded-Proto, Accept": true, "X-Id": true,
	} {
		s := newSite(t, always(origin.Text("max-age=60", "x").With("Vary", vary)), withIDs)
		s.get("/")
		waitFor(t, "the fill to end", func() bool { return s.h.View().Flights.Flights == 0 })
		if r := s.get("/"); r.says("hit") != stored {
			t.Errorf("%s: %s", vary, r)
		}
	}
}

// What applications obey is held back, but for what a route wants: that is a
// part of the key.
func TestForwardFields(t *testing.T) {
	s := newSite(t, func(r origin.Request) origin.Answer {
		return origin.Text("max-age=60", r.Get("X-HTTP-Method-Override")+r.Get("X-Original-URL")+r.Get("X_HTTP_Method_Override"))
	}, func(o *Options) { o.Routes[0].ForwardFields = []string{"X-Http-Method-Override"} })
	for i, tt := range []struct {
		field, want string
		stored      uint64
		hit         bool
	}{
		{"A: b", "", 1, false}, {"X-Original-URL: /admin", "", 1, true}, {"X_HTTP_Method_Override: PUT", "", 1, true},
		{"X-HTTP-METHOD-OVERRIDE: PUT", "PUT", 2, false}, {"x-http-method-override: PUT", "PUT", 2, true},
		{"X-HTTP-Method-Override: put", "put", 3, false}, {"A: b", "", 3, true},
	} {
		if r := s.get("/", tt.field); r.body != tt.want || r.says("hit") != tt.hit {
			t.Errorf("%d: %s gets %s", i, tt.field, r)
		}
		s.stored(tt.stored)
	}
	r := Route{Key: []KeyPart{{kind: keyPath}, {kind: keyHeader, name: "X-HOST"}}, ForwardFields: []string{"X-Host"}, Upstream: s.h.snap.Load().routes[0].Upstream}
	if r.prepare(); len(r.Key) != 2 {
		t.Errorf("the key is %v", r.Key)
	}
}

// Calls are used again, for other clients.
func TestIdentityIsForgotten(t *testing.T) {
	s := newSite(t, always(origin.Text("no-store", "x")), withIDs, trusting("127.0.0.1/32"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				s.get("/a", "X-Request-Id: mine", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https")
				s.get("/b")
			}
		})
	}
	wg.Wait()
	for _, r := range s.o.Record().Requests {
		want := "for=127.0.0.1;host=\"x\";proto=http"
		if r.Path() == "/a" {
			want = "for=192.0.2.1;host=\"x\";proto=https, for=127.0.0.1"
		}
		if mine := r.Get("X-Request-Id") == "mine"; mine != (r.Path() == "/a") || r.Get("Forwarded") != want {
			t.Fatalf("%s: %v", r.Target, r.Fields)
		}
	}
}

// What looks static is stored only where the origin says so: a path that ends like
// a style sheet's may be somebody's account.
func TestNamesSayNothing(t *testing.T) {
	s := newSite(t, func(r origin.Request) origin.Answer {
		if r.Get("Cookie") != "" {
			return origin.Answer{Body: []byte("account")}.With("Content-Type", "text/html")
		}
		return origin.Answer{Body: []byte("login")}.With("Content-Type", "text/html")
	})
	for _, path := range []string{"/account/x.css", "/account%2Fx.js", "/account;x.png", "/account/..%2fstatic/x.ico", "/static/..%2faccount"} {
		s.get(path, "Cookie: session=1")
		if r := s.get(path); r.says("hit") || r.body != "login" {
			t.Errorf("%s: %s", path, r)
		}
	}
}
