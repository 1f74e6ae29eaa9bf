package proxy

import "testing"

func TestRouteMatch(t *testing.T) {
	rs := newRoutes([]Route{
		{Host: "", PathPrefix: "/"},
		{Host: "", PathPrefix: "/api"},
		{Host: "*.example.com", PathPrefix: "/"},
		{Host: "*.eu.example.com", PathPrefix: "/"},
		{Host: "www.example.com", PathPrefix: "/static/"},
	})
	for _, tt := range []struct{ host, path, want string }{
		{"other.org", "/", "/"},
		{"other.org", "/api", "/api"},
		{"other.org", "/api/x", "/api"},
		{"other.org", "/apis", "/"},
		{"a.example.com", "/api", "*.example.com/"},
		{"a.b.example.com", "/", "*.example.com/"},
		{"a.eu.example.com", "/", "*.eu.example.com/"},
		{"example.com", "/", "/"},
		{"evilexample.com", "/", "/"},
		{"www.example.com", "/static/a", "www.example.com/static/"},
		{"www.example.com", "/static", "*.example.com/"},
	} {
		r := rs.match(tt.host, tt.path)
		if r == nil || r.Host+r.PathPrefix != tt.want {
			t.Errorf("%s%s: got %+v, want %s", tt.host, tt.path, r, tt.want)
		}
	}
	if r := newRoutes([]Route{{Host: "a", PathPrefix: "/"}}).match("b", "/"); r != nil {
		t.Errorf("a host without a route got %+v", r)
	}
}
