package proxy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/proxy/upstream"
)

// The last failures are kept, the newest first, and a flood of them is thinned out.
func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f failures
		r := &Route{name: "*/"}
		if got := f.list(); len(got) != 0 {
			t.Errorf("at first %+v", got)
		}
		at := func(i int) target { return target{scheme: "http", authority: "x", raw: fmt.Sprintf("/%d", i)} }
		for i := range maxFailures + 5 {
			f.note(r, "GET", at(i), errBusy)
			f.note(r, "GET", at(-1), errBusy)
			f.note(r, "GET", at(-2), errBusy)
			time.Sleep(failurePause)
		}
		got := f.list()
		if len(got) != maxFailures {
			t.Fatalf("%d are kept", len(got))
		}
		for i, k := range got {
			if want := fmt.Sprintf("http://x/%d", maxFailures+4-i); k.URL != want || k.Skipped != 2 {
				t.Errorf("%d: %+v, want %s", i, k, want)
			}
		}
	})
}

// What is kept of a failure says what the client was told, and is bounded.
func TestFailure(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	for _, tt := range []struct {
		err  error
		want Failure
	}{
		{errBusy, Failure{Status: 503, Kind: "http_request_denied", Error: errBusy.Error()}},
		{&upstream.Error{Kind: upstream.Refused, Server: "a", Err: errors.New(long)},
			Failure{Status: 502, Kind: "connection_refused", Server: "a"}},
	} {
		var f failures
		f.note(&Route{name: "*/"}, "GET", target{scheme: "http", authority: "h", raw: "/" + long}, tt.err)
		got := f.list()[0]
		if tt.want.Error == "" {
			tt.want.Error = tt.err.Error()[:keptText]
		}
		tt.want.Time, tt.want.Route, tt.want.Method = got.Time, "*/", "GET"
		tt.want.URL = ("http://h/" + long)[:keptText]
		if got != tt.want || got.Time.IsZero() {
			t.Errorf("%+v, want %+v", got, tt.want)
		}
	}
}
