package origin_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// Each row is told after the one before it.
func TestControl(t *testing.T) {
	control, err := origin.NewControl(origin.Answer{Size: 10}, "/of/?status=404")
	if err != nil {
		t.Fatal(err)
	}
	o, err := origin.Start(origin.Options{Script: control.Script})
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
	if _, text := ask("GET", "/control"); !strings.HasPrefix(text, `{"requests":310,"keys":2,"per_key":309,"peak":1,`) {
		t.Errorf("counted %q, want 310", text)
	}
	ask("DELETE", "/control")
	if _, text := ask("GET", "/control"); !strings.HasPrefix(text, `{"requests":0,"keys":0,"per_key":0,"peak":0,`) {
		t.Errorf("counted %q anew", text)
	}
	for _, tt := range []struct {
		tell                   string
		told, of, deep, others int
	}{
		{"", 204, 404, 404, 200},
		{"?path=/of/deep&status=410", 204, 404, 410, 200},
		{"?path=/of&status=403", 204, 404, 410, 200},
		{"?status=503", 204, 404, 410, 503},
		{"?path=/of/", 204, 403, 410, 503},
		{"?path=of&status=503", 400, 403, 410, 503},
		{"?path=/of&ready=no", 400, 403, 410, 503},
		{"?spread=-1", 400, 403, 410, 503},
		{"?spread=nan", 400, 403, 410, 503},
		{"", 204, 404, 404, 200},
	} {
		if told, text := ask("POST", "/control"+tt.tell); told != tt.told {
			t.Errorf("%s: told %d %s, want %d", tt.tell, told, text, tt.told)
		}
		of, _ := ask("GET", "/of/any")
		deep, _ := ask("GET", "/of/deep/any")
		others, _ := ask("GET", "/any")
		if of != tt.of || deep != tt.deep || others != tt.others {
			t.Errorf("%s: %d, %d, %d, want %d, %d, %d", tt.tell, of, deep, others, tt.of, tt.deep, tt.others)
		}
	}
	for _, path := range []string{"of", "/of?status=1"} {
		if _, err := origin.NewControl(origin.Answer{}, path); err == nil {
			t.Errorf("%s is taken for a path", path)
		}
	}
}

// Of log-normal delays around 1 ms a sixth passes e ms, one standard deviation.
func TestSpreadOfDelays(t *testing.T) {
	o, err := origin.Start(origin.Options{Script: origin.FromQuery(origin.Answer{Delay: time.Millisecond, Spread: 1})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	var longer atomic.Int64
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for range 20 {
				began := time.Now()
				resp, err := http.Get("http://" + o.Addr() + "/")
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				if time.Since(began) > 2718*time.Microsecond { // one standard deviation
					longer.Add(1)
				}
			}
		})
	}
	clients.Wait()
	http.DefaultClient.CloseIdleConnections()
	if n := longer.Load(); n < 30 { // 63 but for chance, and those that the machine holds up
		t.Errorf("%d of 400 answers took longer than e times the median, want some 63 and more", n)
	}
}
