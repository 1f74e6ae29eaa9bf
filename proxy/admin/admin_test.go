package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"ringfence/health"
	"ringfence/proxy"
	"ringfence/proxy/accesslog"
	"ringfence/proxy/cache"
	"ringfence/proxy/cache/memory"
	"ringfence/proxy/edge"
	"ringfence/proxy/histogram"
	"ringfence/proxy/upstream"
	"ringfence/singleflight"
	"ringfence/singleflight/redis"
)

// busy is a state in which every kind of figure occurs.
func busy() State {
	return State{
		Proxy: proxy.View{
			Requests: proxy.Stats{
				InFlight: 3, Hits: 5, Stored: 2, Collapsed: 7, Stale: 12, Renewals: 13, VariantsDropped: 14, Refused: 1, Bytes: proxy.ByOutcome{proxy.Hit: 1000, proxy.Missed: 24},
				Routes:    map[string]proxy.ByOutcome{"*/": {proxy.Hit: 5, proxy.Missed: 3}, "a.example/x": {proxy.Collapsed: 7}},
				FirstByte: took(time.Millisecond, 3*time.Second), Whole: took(time.Millisecond, 5*time.Second), Waits: took(time.Second)[proxy.Hit],
				Forwarded: map[cache.Reason]uint64{cache.Miss: 4}, Unstored: map[cache.Reason]uint64{cache.Private: 6},
				Status: [6]uint64{0, 0, 9, 8, 0, 1},
			},
			Flights: singleflight.Stats{Flights: 2, Waiting: 3, Buffered: 4096},
			Memory:  memory.Stats{Bytes: 10, MaxBytes: 20, Entries: 1},
			Index:   memory.IndexStats{Entries: 2, Limit: 64},
			Tunnels: proxy.TunnelStats{Open: 2, Total: 8, Ended: [proxy.TunnelEnds]uint64{3, 2, 1, 0}, Refused: 4,
				FromClients: 100, FromServers: 200},
			Purges:    [proxy.PurgeKinds]proxy.PurgeStats{proxy.PurgeTag: {Hard: 5, Soft: 6}},
			Loaded:    proxy.SnapshotLoaded{Entries: 31, Bytes: 32},
			AccessLog: &accesslog.Stats{Lines: 21, Dropped: 22},
			Observed: &proxy.Observed{Memory: memory.Stats{Bytes: 30, MaxBytes: 40, Entries: 3, Evicted: 2}, Routes: map[string]proxy.ObservedRoute{
				"*/quiet": {},
				"*/watched": {Outcomes: proxy.ByOutcome{proxy.Hit: 5, proxy.Stale: 1, proxy.Collapsed: 3, proxy.Missed: 2, proxy.Passed: 1}, Stored: 2,
					Forwarded: map[cache.Reason]uint64{cache.Miss: 5}, Unstored: map[cache.Reason]uint64{cache.SetCookie: 1}},
			}},
			Fleet: &redis.Stats{Leading: 2, Following: 3, Taken: 4, Lost: 5, Fallbacks: 6, HeldElsewhere: 7,
				Nodes: []redis.NodeStats{{Address: "127.0.0.1:6379", Up: true}, {Address: "r:2", Cause: errors.New("gone")}}},
		},
		Upstreams: []upstream.Stats{{Name: "app", Panics: 1, Took: took(time.Second / 4)[proxy.Hit], Servers: []upstream.ServerStats{
			{
				ID: "a", Address: "127.0.0.1:1", Weight: 2, InFlight: 1, Queued: 4, Open: 2, Idle: 1,
				Requests: 9, Failures: map[upstream.Kind]uint64{upstream.Refused: 3}, Share: 0.5, Keys: 0.25, Took: 1500 * time.Millisecond, Ejected: 6, Downed: 7,
				Health: health.Status{Since: time.Unix(1e9, 0).UTC(), Reason: "new", Checks: health.Checks{Result: "200"}},
			},
			{ID: "b", Address: "127.0.0.1:2", Weight: 1, Backup: true, Health: health.Status{
				Standing: health.Ejected, Since: time.Unix(1e9, 0).UTC(), Until: time.Unix(1e9+30, 0).UTC(),
				Reason: "5 failures in a row", Ejections: 1,
			}},
		}}},
		Snapshot: &SnapshotState{
			File: "/cache", Phase: "ready", Failure: "damaged", Written: time.Unix(2e9, 0), Writes: 33, WriteFails: 34,
			Last: proxy.SnapshotWritten{Entries: 35, Bytes: 36},
		},
		Clients: edge.DoorStats{Open: 4, Lingering: 1, Accepted: 50, Full: 2, Crowded: 3, Failed: 4, Requests: 60, H2Requests: 70, H2Open: 2, H2Accepted: 8, H2Abusive: 1},
	}
}

// took has these durations under proxy.Hit, and nothing under the other outcomes.
func took(durations ...time.Duration) []histogram.Snapshot {
	var h histogram.Histogram
	for _, d := range durations {
		h.Observe(d)
	}
	all := make([]histogram.Snapshot, proxy.OutcomeCount)
	all[proxy.Hit].Add(&h)
	return all
}

func ask(t *testing.T, o Options, method, path string) *httptest.ResponseRecorder {
	t.Helper()
	path, body, _ := strings.Cut(path, " ")
	w, r := httptest.NewRecorder(), httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:9901"
	New(o).ServeHTTP(w, r)
	return w
}

func options(ready bool) Options {
	return Options{
		State: busy, Version: "1.2.3", PID: 7, Unready: func() string {
			if ready {
				return ""
			}
			return "it is draining"
		},
		HotKeys: func(n int) proxy.HotKeys {
			return proxy.HotKeys{Over: 90 * time.Second, Keys: []proxy.HotKey{{Hash: 10, Route: "*/", Text: "x/a", Requests: 7}}}
		},
		Failures: func() []proxy.Failure {
			return []proxy.Failure{
				{Time: time.Unix(2e9, 0), Route: "*/", Method: "GET", URL: "http://x/a", Status: 502, Kind: "connection_refused",
					Server: "a", Error: "refused", Skipped: 3},
				{Time: time.Unix(1e9, 0), Route: "*/", Method: "GET", URL: "http://x/a", Status: 503, Kind: "http_request_denied", Error: "busy"},
			}
		},
		Drain: func(upstream, server string, _ bool) bool { return upstream == "app" && server == "a" },
		Explain: func(q proxy.Question) proxy.Explanation {
			return proxy.Explanation{URL: fmt.Sprint(q.Method, " ", q.URL, " ", q.Fields, " ", q.Client), Outcome: proxy.ForecastHit}
		},
		Purge: func(p proxy.Purge) (proxy.Purged, error) {
			switch fmt.Sprint(p.Names) {
			case "[http://none/]":
				return proxy.Purged{}, errors.New("no route")
			case "[lost]":
				return proxy.Purged{Instances: 3, Unconfirmed: errors.New("1 of 3")}, nil
			}
			return proxy.Purged{Instances: 2}, nil
		},
	}
}

func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		ready        bool
		status       int
		says         string
	}{
		{"GET", "/", true, 200, "<title>Ringfence</title>"},
		{"GET", "/page/none.js", true, 404, "no such file"},
		{"GET", "/page/", true, 404, ""},
		{"GET", "/page/..%2fpage.go", true, 404, ""},
		{"GET", "/healthz", false, 200, "ok"},
		{"GET", "/readyz", true, 200, "ready"},
		{"GET", "/readyz", false, 503, "not ready: it is draining"},
		{"HEAD", "/readyz", true, 200, ""},
		{"POST", "/readyz", true, 405, ""},
		{"GET", "/nothing", true, 404, ""},
		{"POST", "/api/drain?upstream=app&server=a", true, 200, `"drained": true`},
		{"POST", "/api/restore?upstream=app&server=a", true, 200, `"drained": false`},
		{"POST", "/api/drain?upstream=app&server=c", true, 404, `no server \"c\"`},
		{"GET", "/api/drain?upstream=app&server=a", true, 405, ""},
		{"GET", "/api/purge", true, 405, ""},
		{"GET", "/api/explain?url=http://x/a&method=HEAD&header=A:b&header=C:d&client=192.0.2.1", true, 200, `"url": "HEAD http://x/a [{A b} {C d}] 192.0.2.1"`},
		{"GET", "/api/explain?url=nonsense", true, 400, "want a URL"},
		{"POST", "/api/explain?url=http://x/a", true, 405, ""},
	} {
		w := ask(t, options(tt.ready), tt.method, tt.path)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.says) {
			t.Errorf("%s %s: %d %q", tt.method, tt.path, w.Code, w.Body)
		}
	}
}

// What POST /api/purge takes, and what it answers: one line each.
func TestPurge(t *testing.T) {
	for body, want := range map[string]string{
		`{"url": "http://x/a"}`:          `200 {"acknowledged":true,"instances":2,"names":["http://x/a"],"purged":"url","soft":false}`,
		`{"tag": "a", "soft": true}`:     `200 {"acknowledged":true,"instances":2,"names":["a"],"purged":"tag","soft":true}`,
		`{"tags": ["a", "b"]}`:           `200 {"acknowledged":true,"instances":2,"names":["a","b"],"purged":"tag","soft":false}`,
		`{"prefix": "http://x/"}`:        `200 {"acknowledged":true,"instances":2,"names":["http://x/"],"purged":"prefix","soft":false}`,
		`{"key": "0123456789abcdef"}`:    `200 {"acknowledged":true,"instances":2,"names":["0123456789abcdef"],"purged":"key","soft":false}`,
		`{"everything": true}`:           `200 {"acknowledged":true,"instances":2,"purged":"everything","soft":false}`,
		`{"tag": "lost"}`:                `202 {"acknowledged":false,"error":"1 of 3","instances":3,"names":["lost"],"purged":"tag","soft":false}`,
		`{"url": "http://none/"}`:        `400 no route`,
		``:                               `400 want JSON`,
		`{}`:                             `400 want JSON`,
		`{"everything": false}`:          `400 want JSON`,
		`{"soft": true}`:                 `400 want JSON`,
		`{"tags": []}`:                   `400 want JSON`,
		`{"url": "a", "tag": "b"}`:       `400 want JSON`,
		`{"tag": "a", "tags": ["b"]}`:    `400 want JSON`,
		`{"ulr": "a"}`:                   `400 want JSON`,
		`{"tag": 1}`:                     `400 want JSON`,
		`{"tag": "a"} {"everything": 1}`: `400 want JSON`,
		`["a"]`:                          `400 want JSON`,
		`{"tag": "` + strings.Repeat("a", maxBody) + `"}`: `400 want JSON`,
	} {
		w := ask(t, options(true), "POST", "/api/purge "+body)
		var v map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			t.Fatalf("%.60s: %v", body, err)
		}
		b, _ := json.Marshal(v)
		text := string(b)
		if w.Code == 400 {
			text = v["detail"].(string)
		}
		if got := fmt.Sprintf("%d %s", w.Code, text); !strings.HasPrefix(got, want) || w.Code != 400 && got != want {
			t.Errorf("%.60s: %s\nwant %s", body, got, want)
		}
	}
}

// The names in the status are an interface: a change of one breaks somebody.
func TestStatus(t *testing.T) {
	w := ask(t, options(true), "GET", "/api/status")
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	var got, want any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	const text = `{
	"version": "1.2.3", "pid": 7, "read_only": false, "connections": 4,
	"admin": {"connections": 0, "refused": 0, "events": {"subscribers": 0, "dropped": 0, "refused": 0}},
	"fleet": {"leases": 2, "following": 3, "taken": 4, "lost": 5, "fallbacks": 6, "nodes": [{"address": "127.0.0.1:6379", "up": true}, {"address": "r:2", "up": false, "cause": "gone"}]},
	"requests": {"in_flight": 3, "hits": 5, "forwarded": {"uri-miss": 4}, "unstored": {"private": 6},
		"stored": 2, "collapsed": 7, "refused": 1, "stale": 12, "renewals": 13},
	"flights": {"in_progress": 2, "waiting": 3, "buffered_bytes": 4096},
	"memory": {"bytes": 10, "max_bytes": 20, "entries": 1},
	"index": {"entries": 2, "limit": 64},
	"snapshot": {"file": "/cache", "phase": "ready", "failure": "damaged", "loaded_entries": 31, "loaded_bytes": 32, "load_seconds": 0,
		"skipped": {"expired": 0, "struck": 0, "unrouted": 0, "policy": 0, "newer": 0, "no_room": 0}, "written": "2033-05-18T03:33:20Z",
		"write_seconds": 0, "entries": 35, "bytes": 36, "writes": 33, "write_failures": 34},
	"tunnels": {"open": 2, "total": 8, "refused": 4, "ended": {"closed": 3, "broken": 2, "idle": 1, "drained": 0},
		"bytes_from_clients": 100, "bytes_from_servers": 200},
	"access_log": {"lines": 21, "dropped": 22},
	"observed": {"bytes": 30, "max_bytes": 40, "entries": 3, "evicted": 2, "routes": {
		"*/quiet": {"outcomes": {}, "hit_ratio": null, "offload_ratio": null, "forwarded": {}, "unstored": {}, "stored": 0},
		"*/watched": {"outcomes": {"hit": 5, "stale": 1, "collapsed": 3, "miss": 2, "pass": 1}, "hit_ratio": 0.5, "offload_ratio": 0.75,
			"forwarded": {"uri-miss": 5}, "unstored": {"set-cookie": 1}, "stored": 2}}},
	"upstreams": [{"name": "app", "panicking": false, "servers": [
		{"id": "a", "address": "127.0.0.1:1", "weight": 2, "standing": "live", "reason": "new", "since": "2001-09-09T01:46:40Z",
			"share": 0.5, "ring": 1, "last_check": "200", "in_flight": 1, "queued": 4, "connections": 2, "idle_connections": 1, "requests": 9,
			"failures": {"connection_refused": 3}},
		{"id": "b", "address": "127.0.0.1:2", "weight": 1, "backup": true, "standing": "ejected", "reason": "5 failures in a row",
			"since": "2001-09-09T01:46:40Z", "until": "2001-09-09T01:47:10Z", "ejections": 1, "share": 0, "ring": 0,
			"in_flight": 0, "queued": 0, "connections": 0, "idle_connections": 0, "requests": 0, "failures": {}}]}]}`
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	a, _ := json.MarshalIndent(got, "", " ")
	b, _ := json.MarshalIndent(want, "", " ")
	if string(a) != string(b) {
		t.Errorf("got %s\nwant %s", a, b)
	}
}

// The metrics are well-formed and named as Prometheus asks.
func TestMetrics(t *testing.T) {
	w := ask(t, options(true), http.MethodGet, "/metrics")
	problems, err := promlint.New(bytes.NewReader(w.Body.Bytes())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	lines := strings.Split(w.Body.String(), "\n")
	for _, want := range []string{
		`ringfence_build_info{goversion="` + runtime.Version() + `",version="1.2.3"} 1`,
		`ringfence_requests_total{outcome="hit",route="*/"} 5`, `ringfence_requests_total{outcome="collapsed",route="a.example/x"} 7`,
		`ringfence_requests_total{outcome="pass",route="*/"} 0`, `ringfence_requests_forwarded_total{reason="uri-miss"} 4`,
		`ringfence_response_body_bytes_total{outcome="hit"} 1000`, `ringfence_response_body_bytes_total{outcome="miss"} 24`,
		`ringfence_request_first_byte_seconds_bucket{outcome="hit",le="0.0009765625"} 0`,
		`ringfence_request_first_byte_seconds_bucket{outcome="hit",le="0.001953125"} 1`,
		`ringfence_request_first_byte_seconds_bucket{outcome="hit",le="4"} 2`,
		`ringfence_request_first_byte_seconds_bucket{outcome="hit",le="+Inf"} 2`,
		`ringfence_request_first_byte_seconds_sum{outcome="hit"} 3.001`, `ringfence_request_duration_seconds_sum{outcome="hit"} 5.001`,
		`ringfence_request_duration_seconds_count{outcome="gone"} 0`, `ringfence_fill_wait_seconds_sum 1`,
		`ringfence_upstream_response_seconds_bucket{upstream="app",le="0.25"} 1`,
		`ringfence_upstream_response_seconds_bucket{upstream="app",le="0.125"} 0`,
		`ringfence_upstream_server_response_seconds_total{server="a",upstream="app"} 1.5`,
		`ringfence_upstream_server_ring_share{server="a",upstream="app"} 0.25`,
		`ringfence_upstream_server_ejections_total{cause="requests",server="a",upstream="app"} 6`,
		`ringfence_upstream_server_ejections_total{cause="checks",server="a",upstream="app"} 7`,
		`ringfence_responses_total{class="2xx"} 9`, `ringfence_responses_total{class="5xx"} 1`,
		`ringfence_requests_in_flight 3`, `ringfence_fills_unstored_total{reason="private"} 6`,
		`ringfence_tunnels 2`, `ringfence_tunnels_opened_total 8`, `ringfence_tunnels_ended_total{reason="broken"} 2`,
		`ringfence_tunnels_refused_total 4`, `ringfence_tunnel_bytes_total{from="server"} 200`,
		`ringfence_purges_total{kind="tag",mode="hard"} 5`, `ringfence_purges_total{kind="tag",mode="soft"} 6`,
		`ringfence_purges_total{kind="everything",mode="hard"} 0`,
		`ringfence_observed_requests_total{outcome="hit",route="*/watched"} 5`, `ringfence_observed_requests_total{outcome="hit",route="*/quiet"} 0`,
		`ringfence_observed_requests_forwarded_total{reason="uri-miss",route="*/watched"} 5`, `ringfence_observed_fills_stored_total{route="*/watched"} 2`,
		`ringfence_observed_fills_unstored_total{reason="set-cookie",route="*/watched"} 1`, `ringfence_observed_evicted_total 2`,
		`ringfence_observed_bytes 30`, `ringfence_observed_limit_bytes 40`, `ringfence_observed_objects 3`,
		`ringfence_access_log_lines_total 21`, `ringfence_access_log_dropped_total 22`,
		`ringfence_fleet_leases 2`, `ringfence_fleet_node_up{node="127.0.0.1:6379"} 1`, `ringfence_fill_waiters 3`, `ringfence_index_entries 2`, `ringfence_client_connections_lingering 1`,
		`ringfence_client_connections_total 50`, `ringfence_client_connections_rejected_total{reason="client"} 3`,
		`ringfence_client_http2_connections 2`, `ringfence_client_http2_connections_total 8`, `ringfence_client_http2_connections_abusive_total 1`,
		`ringfence_client_requests_total{protocol="http/1"} 60`, `ringfence_client_requests_total{protocol="http/2"} 70`,
		`ringfence_upstream_server_standing{server="a",standing="live",upstream="app"} 1`,
		`ringfence_upstream_server_standing{server="b",standing="live",upstream="app"} 0`,
		`ringfence_upstream_server_standing{server="b",standing="ejected",upstream="app"} 1`,
		`ringfence_upstream_server_share{server="a",upstream="app"} 0.5`, `ringfence_upstream_panics_total{upstream="app"} 1`,
		`ringfence_upstream_server_failures_total{kind="connection_refused",server="a",upstream="app"} 3`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %s", want)
		}
	}
}

// People get text, if they say so.
func TestExplainAsText(t *testing.T) {
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/api/explain?url=http://x/", nil)
	r.Host = "127.0.0.1:9901"
	r.Header.Set("Accept", "text/plain")
	New(options(true)).ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), "\nHIT: ") || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("%v %s", w.Header(), w.Body)
	}
}
