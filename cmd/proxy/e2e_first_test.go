package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// minimal is the file a newcomer writes; the test moves its ports.
const minimal = `
listen: 127.0.0.1:8080
admin:
  listen: 127.0.0.1:9901
cache:
  memory: 256MiB
upstreams:
  app:
    servers:
      - address: 127.0.0.1:9001
      - address: 127.0.0.1:9002
        weight: 2
    health_check:
      path: /healthz
      interval: 1s
      timeout: 500ms
routes:
  - upstream: app
`

func TestMinimalConfiguration(t *testing.T) {
	t.Parallel()
	script := func(r origin.Request) origin.Answer { return origin.Text("max-age=60", "answer to "+r.Target) }
	light, heavy := newOrigin(t, "light", script), newOrigin(t, "heavy", script)
	p := runFile(t, strings.NewReplacer("127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:9901", "127.0.0.1:0",
		"127.0.0.1:9001", light.Addr(), "127.0.0.1:9002", heavy.Addr()).Replace(minimal))

	const keys = 300
	key := func(i int) string { return fmt.Sprintf("/key/%d?q=%d", i, i) }
	misses := make([]reply, keys)
	for i := range misses {
		misses[i] = p.get(key(i)).must(t, 200)
		if m := misses[i]; !m.is("fwd=uri-miss") || !m.is("stored") || m.is("hit") {
			t.Fatalf("first: %s", m)
		}
	}
	p.settle()
	for i, miss := range misses {
		hit := p.get(key(i)).must(t, 200)
		if !hit.is("hit") || hit.header.Get("Age") == "" || !strings.HasPrefix(hit.header.Get("Cache-Status"), "ringfence;") {
			t.Fatalf("second: %s", hit)
		}
		by := miss.header.Get("X-Served-By")
		if hit.body != "answer to "+key(i) || hit.body != miss.body || hit.header.Get("X-Served-By") != by {
			t.Fatalf("miss %s, hit %s", miss, hit)
		}
	}
	l, h := light.Record().Total, heavy.Record().Total
	if l+h != keys {
		t.Errorf("%d requests reached the origins, want %d", l+h, keys)
	}
	if ratio := float64(h) / float64(l); ratio < 1.4 || ratio > 2.9 {
		t.Errorf("the server of weight 2 got %.2f times the keys of the other", ratio)
	}
	reaches(t, light, func(r origin.Record) bool { return r.Checks > 0 })
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	p, _ := behind(t, always(origin.Text("max-age=60", "x")))
	p.get("/a").must(t, 200)
	p.settle()
	p.get("/a").must(t, 200)
	for path, want := range map[string]string{
		"/healthz":    "ok",
		"/readyz":     "ready",
		"/metrics":    "ringfence_",
		"/api/status": `"hits": 1`,
	} {
		resp, err := http.Get("http://" + p.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		if r := whole(resp).must(t, 200); !strings.Contains(r.body, want) {
			t.Errorf("%s: %q is not in %q", path, want, r.body)
		}
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	echo := func(r origin.Request) origin.Answer { return origin.Text("max-age=60", r.Target) }
	a, b := newOrigin(t, "a", echo), newOrigin(t, "b", echo)
	p := runFile(t, fmt.Sprintf(`
listen: 127.0.0.1:0
admin: {listen: '127.0.0.1:0'}
upstreams:
  a: {servers: [{address: '%s'}]}
  b: {servers: [{address: '%s'}]}
routes:
  - {path_prefix: /, upstream: a}
  - {path_prefix: /b, upstream: b}
  - {path_prefix: /b/off, upstream: a, cache: off}
  - {path_prefix: /paths, upstream: a, cache_key: [path]}
  - {host: b.example, path_prefix: /, upstream: b}
  - {host: only.example, path_prefix: /deep, upstream: b}
`, a.Addr(), b.Addr()))
	for target, want := range map[string]string{"/": "a", "/x": "a", "/b": "b", "/b/x": "b", "/bx": "a", "/b/off": "a"} {
		if r := p.get(target).must(t, 200); r.header.Get("X-Served-By") != want {
			t.Errorf("%s was answered by %s, want %s", target, r.header.Get("X-Served-By"), want)
		}
	}
	c := p.dial()
	c.send("GET / HTTP/1.1", "Host: B.Example")
	if by := c.response("GET").Header.Get("X-Served-By"); by != "b" {
		t.Errorf("host b.example was answered by %s", by)
	}
	if r := p.get("/b/off").must(t, 200); r.is("hit") || !r.is("fwd=bypass") {
		t.Errorf("cache: off: %s", r)
	}
	p.get("/paths?1").must(t, 200)
	p.settle()
	if r := p.get("/paths?2").must(t, 200); !r.is("hit") || r.body != "/paths?1" {
		t.Errorf("cache_key without query: %s", r)
	}
}
