package drill

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// Each kind sends what its name says, and who hears of the other side too early is
// noticed.
func TestThrong(t *testing.T) {
	o, err := origin.Start(origin.Options{Script: func(r origin.Request) origin.Answer {
		return origin.Answer{Early: strings.HasPrefix(r.Target, "/slow") && r.Method == "POST"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Stop)
	for _, tt := range []struct {
		kind  string
		asked int // requests of 4 clients whose heads are whole
		heard int
	}{{"slow-heads", 0, 0}, {"slow-bodies", 4, 4}, {"deaf-clients", 4, 0}, {"dripping-upstreams", 4, 0}, {"idle", 4, 0}} {
		before := o.Record().Total
		for _, s := range slownesses {
			if s.name != tt.kind {
				continue
			}
			c, err := comeSlowly(t.Context(), o.Addr(), 4, []slowness{s})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(c.leave)
			if ok, err := until(t.Context(), startTime, func() bool { return o.Record().Total-before == tt.asked && c.heard() == tt.heard }); !ok || err != nil {
				t.Errorf("%s: %d requests, %d heard of it: %v", tt.kind, o.Record().Total-before, c.heard(), err)
			}
			c.leave()
			c.leave() // does nothing
		}
	}
}

// A slow client goes on sending, and its window is small.
func TestThrongDrips(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := comeSlowly(t.Context(), l.Addr().String(), 1, []slowness{{first: inTurn("first"), then: inTurn("x")}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.leave()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := make([]byte, len("firstx"))
	if _, err := io.ReadFull(s, got); string(got) != "firstx" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_ = s.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := s.Write(make([]byte, 16<<20)); err == nil || n > 1<<20 {
		t.Errorf("a deaf client takes %d bytes, %v", n, err)
	}
}

func TestThrongWithoutProxy(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := comeSlowly(ctx, "127.0.0.1:1", 10, slownesses); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

// The typical latency is the median of the spans' 99th percentiles, so that one
// that was disturbed does not count.
func TestTypicalLatency(t *testing.T) {
	const ms = time.Millisecond
	var all shots
	for i, took := range []time.Duration{2 * ms, 90 * ms, 3 * ms, 4 * ms, 5 * ms} {
		at := time.Duration(i) * time.Second
		all = append(all, &shot{at: at, sent: at, ended: at + took})
	}
	spans := func(from ...int) (ss []span) {
		for _, n := range from {
			ss = append(ss, span{time.Duration(n) * time.Second, time.Duration(n+1) * time.Second})
		}
		return ss
	}
	if p, said := all.typical(spans(0, 1, 2)); p != 3*ms || said != "2ms, 90ms, 3ms" {
		t.Errorf("%s of %s", p, said)
	}
	f := farm{env: Env{}.withDefaults()}
	f.unmoved("few", all, spans(0), spans(4))            // 3 ms more
	f.unmoved("many", all, spans(0), spans(1))           // 88 ms more
	f.unmoved("a multiple", all, spans(1), spans(1))     // as much
	f.unmoved("a median", all, spans(0, 2), spans(3, 0)) // of one that is high
	if failed := f.Failed(); len(failed) != 1 || failed[0].Got != "90ms" {
		t.Errorf("%+v", f.Lines)
	}
}
