package admin

import (
	"errors"
	"strings"
	"testing"
)

// What POST /api/upgrade answers; instances that are read-only do not even try.
func TestUpgrade(t *testing.T) {
	d := readDescription(t)
	for _, tt := range []struct {
		done     Upgraded
		readOnly bool
		status   int
		says     string
	}{
		{Upgraded{Old: Process{7, "1"}, New: Process{8, "2"}}, false, 200, `"pid": 8`},
		{Upgraded{Err: errors.New("f:1:2: a")}, false, 422, "f:1:2: a"},
		{Upgraded{Err: errors.New("under way"), Refused: true}, false, 409, "under way"},
		{Upgraded{Old: Process{7, "1"}, New: Process{8, "2"}}, true, 403, "read-only"},
	} {
		o, tried := options(true), false
		o.Access.ReadOnly = tt.readOnly
		o.Upgrade = func() Upgraded { tried = true; return tt.done }
		w := ask(t, o, "POST", "/api/upgrade")
		d.held(t, tt.says, w, "/api/upgrade", "post", tt.status)
		if !strings.Contains(w.Body.String(), tt.says) || tried == tt.readOnly {
			t.Errorf("tried %v: %s, want %s", tried, w.Body, tt.says)
		}
	}
}

func TestUpgradeMetric(t *testing.T) {
	o := options(true)
	o.State = func() State { return State{UpgradesFailed: 3} }
	if text := ask(t, o, "GET", "/metrics").Body.String(); !strings.Contains(text, "\nringfence_upgrades_failed_total 3\n") {
		t.Error("no such line")
	}
}
