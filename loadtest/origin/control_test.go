package origin_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"ringfence/loadtest/origin"
)

// Each row is told after the one before it.
func TestControl(t *testing.T) {
	o, err := origin.Start(origin.Options{Script: origin.NewControl(origin.Answer{Size: 10}).Script})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	ask := func(method, target string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+o.Addr()+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			body = []byte("cut")
		}
		return resp.StatusCode, string(body)
	}
	for _, tt := range []struct {
		tell                string
		told, status, ready int
		cut                 bool
	}{
		{"", 204, 200, 200, false},
		{"?status=503", 204, 503, 200, false},
		{"?status=900", 400, 503, 200, false}, // and nothing has changed
		{"?part=0", 400, 503, 200, false},
		{"?ready=perhaps", 400, 503, 200, false},
		{"?%zz", 400, 503, 200, false},
		{"?ready=no", 204, 200, 503, false},
		{"?cut=5&ready=yes", 204, 200, 200, true},
		{"", 204, 200, 200, false},
	} {
		if told, text := ask("POST", "/control"+tt.tell); told != tt.told {
			t.Errorf("%s: told %d %s, want %d", tt.tell, told, text, tt.told)
		}
		if status, body := ask("GET", "/any"); status != tt.status || (body == "cut") != tt.cut {
			t.Errorf("%s: status %d, body %q", tt.tell, status, body)
		}
		if ready, _ := ask("GET", "/ready"); ready != tt.ready {
			t.Errorf("%s: ready %d, want %d", tt.tell, ready, tt.ready)
		}
	}
	if status, body := ask("GET", "/any?size=3"); status != 200 || len(body) != 3 {
		t.Errorf("the request's own query: %d, %q", status, body)
	}
	ask("POST", "/control?status=503&part=30")
	failed := 0
	for range 300 {
		if status, _ := ask("GET", "/any"); status == 503 {
			failed++
		}
	}
	if failed < 40 || failed > 150 { // 90 but for chance
		t.Errorf("%d of 300 requests failed, want 30 %%", failed)
	}
	if _, text := ask("GET", "/control"); strings.TrimSpace(text) != "requests 310" {
		t.Errorf("counted %q, want 310", text)
	}
}
