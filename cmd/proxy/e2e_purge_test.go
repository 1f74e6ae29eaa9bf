package main_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"ringfence/loadtest/origin"
)

// purge runs `proxy purge` against the process, and returns what it prints.
func (p *process) purge(args ...string) (out string, code int) {
	p.t.Helper()
	c := startCommand(p.t, slices.Concat([]string{"purge", "--admin", p.admin}, args)...)
	code = c.wait(soon)
	return c.stdout.String() + c.stderr.String(), code
}

// What the command names is gone in the whole fleet when it returns, or stale; it
// says so in words, and what it cannot purge it names.
func TestPurgeCommand(t *testing.T) {
	t.Parallel()
	var version atomic.Int64
	o := newOrigin(t, "one", func(r origin.Request) origin.Answer {
		text := strconv.FormatInt(version.Load(), 10)
		a := origin.Text("max-age=600", text).With("ETag", strconv.Quote(text)).With("Surrogate-Key", "all page").With("Cache-Tag", "two words")
		if r.Get("If-None-Match") == strconv.Quote(text) {
			a.Status, a.Body = 304, nil
		}
		return a
	})
	redis := startRedis(t, "")
	var fleet []*process
	for range 2 {
		fleet = append(fleet, startProxy(t, setup{
			// The key has no host: the instances' addresses differ.
			route:   "cache_key: [path, query], tags_from: [Surrogate-Key], purge_from: [127.0.0.1]",
			top:     "cache: {shared: {redis: {addresses: ['127.0.0.1:" + redis.port + "']}, timeout: 300ms, lease_ttl: 2s}}",
			origins: []*origin.Origin{o},
		}))
	}
	eventually(t, "both instances to be confirmed", func() bool {
		out, code := fleet[0].purge("--everything")
		return code == 0 && strings.Contains(out, "everything: purged, confirmed by 2 instances")
	})
	const path = "/news/today?x"
	for _, tt := range []struct {
		args []string
		says string // "": what is asked for is none of it
	}{
		{[]string{"http://any.example" + path}, "url http://any.example/news/today?x: purged, confirmed by 2 instances\n"},
		{[]string{"--soft", "http://any.example" + path}, "made stale, confirmed by 2 instances\n"},
		{[]string{"--tag", "page"}, "tag page: purged, confirmed by 2 instances\n"},
		{[]string{"--tag", "none", "--tag", "all", "--soft"}, "tag none, all: made stale"},
		{[]string{"--prefix", "https://any.example/news"}, "prefix https://any.example/news: purged"},
		{[]string{"--everything", "--soft"}, "everything: made stale"},
		{[]string{"--tag", "two words"}, ""}, // of a field that is not read
		{[]string{"--prefix", "http://any.example/ne"}, ""},
		{[]string{"http://any.example/news/today"}, ""},
	} {
		for _, p := range fleet {
			p.get(path).must(t, 200)
			p.settle()
			r := p.get(path).must(t, 200)
			if !r.is("hit") || r.header["Surrogate-Key"] != nil || r.header["Cache-Tag"] == nil {
				t.Errorf("%q: before it %s", tt.args, r)
			}
		}
		was := version.Add(1) - 1
		if tt.says != "" {
			was++
		}
		if out, code := fleet[1].purge(tt.args...); code != 0 || !strings.Contains(out, tt.says) {
			t.Errorf("%q: exit code %d, %q", tt.args, code, out)
		}
		for i, p := range fleet {
			if r := p.get(path).must(t, 200); r.body != strconv.FormatInt(was, 10) {
				t.Errorf("%q: instance %d, version %s, want %d: %s", tt.args, i, r.body, was, r)
			}
		}
		fleet[0].purge("--everything")
	}
	// By a request, to the other instance.
	fleet[0].get(path)
	fleet[1].get(path)
	was := version.Add(1)
	if r := fleet[1].do("PURGE", path, ""); r.status != 200 || !r.is("detail=purged") {
		t.Errorf("PURGE: %s", r)
	}
	for _, p := range fleet {
		if r := p.get(path).must(t, 200); r.body != strconv.FormatInt(was, 10) {
			t.Errorf("after a PURGE: %s", r)
		}
	}
	redis.kill()
	out, code := fleet[0].purge("--tag", "all")
	if code != 1 || !strings.Contains(out, "not every other instance has confirmed") {
		t.Errorf("without an engine: exit code %d, %q", code, out)
	}
}

func TestPurgeIsRefused(t *testing.T) {
	t.Parallel()
	p, _ := behind(t, always(origin.Text("max-age=60", "x")))
	for _, args := range [][]string{
		{}, {"--soft"}, {"http://x/", "http://y/"}, {"http://x/", "--everything"}, {"--tag", "a", "--prefix", "http://x/"},
		{"nonsense"}, {"--prefix", "http://x/?q"}, {"--key", "1"}, {"--tag", ""},
	} {
		if out, code := p.purge(args...); code != 1 || out == "" {
			t.Errorf("%q: exit code %d, %q", args, code, out)
		}
	}
	c := startCommand(t, "purge", "--admin", "127.0.0.1:1", "--everything")
	if code := c.wait(soon); code != 1 || !strings.Contains(c.stderr.String(), "127.0.0.1:1") {
		t.Errorf("nobody there: exit code %d, %q", code, c.stderr)
	}
}

// The API purges as the command does, and the metrics count it.
func TestPurgeAPI(t *testing.T) {
	t.Parallel()
	p, _ := behind(t, always(origin.Text("max-age=60", "x").With("Cache-Tag", "a, b")))
	post := func(body string) string {
		resp, err := http.Post("http://"+p.admin+"/api/purge", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return whole(resp).must(t, 200).body
	}
	for _, body := range []string{`{"tags": ["c", "b"]}`, fmt.Sprintf(`{"url": "http://%s/"}`, p.addr), `{"everything": true}`} {
		p.get("/").must(t, 200)
		p.settle()
		if r := p.get("/").must(t, 200); !r.is("hit") || r.header["Cache-Tag"] != nil {
			t.Errorf("%s: before it %s", body, r)
		}
		if got := post(body); !strings.Contains(got, `"acknowledged": true`) || !strings.Contains(got, `"instances": 1`) {
			t.Errorf("%s: %s", body, got)
		}
		if r := p.get("/").must(t, 200); r.is("hit") {
			t.Errorf("%s: after it %s", body, r)
		}
		p.settle()
	}
	resp, err := http.Get("http://" + p.admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	for _, want := range []string{`ringfence_purges_total{kind="tag",mode="hard"} 1`, `ringfence_purges_total{kind="url",mode="hard"} 1`} {
		if !strings.Contains(string(text), want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
}
