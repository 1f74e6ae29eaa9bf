package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// What POST /api/reload answers: the result, what has changed, and each fault in a
// line of its own.
func TestReload(t *testing.T) {
	for _, tt := range []struct {
		done Reloaded
		want string
	}{
		{Reloaded{Result: ReloadSuccess, Hash: "1f", Changes: []string{"+ upstreams.b"}}, `200 {"changes":["+ upstreams.b"],"config_hash":"1f","result":"success"}`},
		{Reloaded{Result: ReloadUnchanged, Hash: "1f"}, `200 {"config_hash":"1f","result":"unchanged"}`},
		{Reloaded{Result: ReloadFailure, Hash: "1f", Err: errors.New("f:1:2: a\nf:3:4: b")}, `422 {"config_hash":"1f","errors":["f:1:2: a","f:3:4: b"],"result":"failure"}`},
	} {
		o := options(true)
		o.Reload = func(context.Context) Reloaded { return tt.done }
		w := ask(t, o, "POST", "/api/reload")
		var a map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(a)
		if got := fmt.Sprintf("%d %s", w.Code, text); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
		if w := ask(t, o, "GET", "/api/reload"); w.Code != 405 {
			t.Errorf("GET: %d", w.Code)
		}
	}
}

func TestReloadMetrics(t *testing.T) {
	o := options(true)
	o.State = func() State {
		return State{ConfigHash: "1f", Reloads: Reloads{By: [ReloadResults]uint64{7, 8, 9}, LastOK: true, LastSuccess: time.UnixMilli(1500)}}
	}
	text := ask(t, o, "GET", "/metrics").Body.String()
	for _, line := range []string{
		`ringfence_config_reloads_total{result="success"} 7`, `ringfence_config_reloads_total{result="unchanged"} 8`,
		`ringfence_config_reloads_total{result="failure"} 9`, "ringfence_config_last_reload_successful 1",
		"ringfence_config_last_reload_success_timestamp_seconds 1.5",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if text := ask(t, o, "GET", "/api/status").Body.String(); !strings.Contains(text, `"config_hash": "1f"`) {
		t.Error(text)
	}
}
