package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ringfence/proxy"
	"ringfence/proxy/cache"
	"ringfence/singleflight/redis"
)

// numbered makes events that say how many there were since somebody came.
func numbered(made *atomic.Int64) func(*moment) ([]byte, *moment) {
	return func(last *moment) ([]byte, *moment) {
		made.Add(1)
		n := 0
		if last != nil {
			n = int(last.at.Unix()) + 1
		}
		return fmt.Append(nil, n), &moment{at: time.Unix(int64(n), 0)}
	}
}

// Who subscribes has an event at once and then one a second; without anybody there
// is no work, and a rate begins anew after such a time.
func TestHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int64
		h := newHub(numbered(&made))
		defer h.close()
		time.Sleep(time.Minute)
		if made.Load() != 0 {
			t.Error("it works for nobody")
		}
		a := h.subscribe()
		start := time.Now()
		for want := range 3 {
			if got := string(<-a); got != fmt.Sprint(want) || time.Since(start) != time.Duration(want)*eventPause {
				t.Errorf("event %s after %v, want %d", got, time.Since(start), want)
			}
		}
		time.Sleep(eventPause / 2)
		b := h.subscribe()
		if got := string(<-b); got != "2" {
			t.Errorf("the second one has %s at first", got)
		}
		if got := string(<-b) + string(<-a); got != "33" {
			t.Errorf("then they have %s", got)
		}
		h.leave(a)
		h.leave(b)
		was := made.Load()
		time.Sleep(time.Minute)
		if made.Load() > was || h.stats() != (eventStatus{}) {
			t.Errorf("%d events for nobody; %+v", made.Load()-was, h.stats())
		}
		if got := string(<-h.subscribe()); got != "0" {
			t.Errorf("after a while the first event is %s", got)
		}
	})
}

// The slow are dropped, and nobody waits for them; there are so many and no more.
func TestHubIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made atomic.Int64
		h := newHub(numbered(&made))
		defer h.close()
		slow, quick := h.subscribe(), h.subscribe()
		for range 2 * maxBehind {
			<-quick
		}
		n := 0
		for range slow {
			n++
		}
		if st := h.stats(); n != maxBehind || st.Dropped != 1 || st.Subscribers != 1 {
			t.Errorf("%d events for the slow one, %+v", n, st)
		}
		for range maxSubscribers - 1 {
			if h.subscribe() == nil {
				t.Fatal("refused below the limit")
			}
		}
		w := httptest.NewRecorder()
		h.serve(w, httptest.NewRequest("GET", "/api/events", nil))
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || h.stats().Refused != 1 {
			t.Errorf("beyond the limit: %d, %+v", w.Code, h.stats())
		}
		h.leave(quick)
		if h.subscribe() == nil {
			t.Error("refused where one has left")
		}
	})
}

// pipes is a listener of connections in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// dial connects and asks for a path.
func (p pipes) dial(path string) net.Conn {
	client, server := net.Pipe()
	p <- server
	fmt.Fprintf(client, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path)
	return client
}

// A stream outlives the time that an answer may take; one that is not read ends,
// and so do all with the server.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := New(options(true)), make(pipes)
		served := make(chan error, 1)
		go func() { served <- s.Serve(l, nil) }()
		c := l.dial("/api/events")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" || resp.StatusCode != 200 {
			t.Fatalf("%+v, %v", resp, err)
		}
		lines := bufio.NewReader(resp.Body)
		start := time.Now()
		for i := range int(2 * writeTime / eventPause) {
			line, err := lines.ReadString('\n')
			text, isData := strings.CutPrefix(line, "data: ")
			var e event
			if blank, _ := lines.ReadString('\n'); err != nil || blank != "\n" || !isData || json.Unmarshal([]byte(text), &e) != nil {
				t.Fatalf("event %d: %q, %v", i, line, err)
			}
			if e.Seconds != float64(min(i, 1)) || e.Status.Version != "1.2.3" || len(e.HotKeys.Keys) != 1 || len(e.Failures) != 2 {
				t.Fatalf("event %d: %+v", i, e)
			}
		}
		if took := time.Since(start).Round(eventPause); took != 2*writeTime-eventPause {
			t.Errorf("they took %v", took)
		}
		time.Sleep(maxBehind*eventPause + eventTime + 2*eventPause) // it is not read any more
		if st, n := s.hub.stats(), s.connections.Load(); st.Subscribers != 0 || st.Dropped != 1 || n != 0 {
			t.Errorf("of a stream that is not read: %+v, %d connections", st, n)
		}
		c.Close()
		c = l.dial("/api/events")
		if resp, err = http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, resp.Body)
			ended <- err
		}()
		start = time.Now()
		if err := errors.Join(s.Close(), <-served, <-ended); err != nil || time.Since(start) > closeTime {
			t.Errorf("closed after %v: %v", time.Since(start), err)
		}
		c.Close()
	})
}

// A connection too many is closed, and counted.
func TestConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := New(options(true)), make(pipes)
		served := make(chan error, 1)
		go func() { served <- s.Serve(l, nil) }()
		var open []net.Conn
		for range maxConnections {
			client, server := net.Pipe()
			l <- server
			open = append(open, client)
		}
		synctest.Wait()
		client, server := net.Pipe()
		l <- server
		if _, err := client.Read(make([]byte, 1)); err == nil || s.refused.Load() != 1 {
			t.Errorf("one too many: %v, %d refused", err, s.refused.Load())
		}
		open[0].Close()
		synctest.Wait()
		c := l.dial("/healthz")
		if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 200 {
			t.Errorf("where one has left: %v", err)
		}
		for _, c := range append(open, c) {
			c.Close()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
}

// Rates are what became of one state in so many seconds.
func TestRates(t *testing.T) {
	state := func(n uint64) State {
		return State{Proxy: proxy.View{
			Requests: proxy.Stats{
				Hits: 3 * n, Forwarded: map[cache.Reason]uint64{cache.Miss: n}, Collapsed: 5 * n, Stale: 6 * n, Renewals: 7 * n,
				Bytes: proxy.ByOutcome{proxy.Hit: 8 * n}, Status: [6]uint64{n, 0, n, 0, 0, 2 * n},
			},
			Fleet: &redis.Stats{Taken: int64(9 * n), HeldElsewhere: int64(10 * n)},
		}}
	}
	got, ratio := ratesOf(state(100), state(120), 2)
	want := rates{Answers: 40, Errors: 20, Bytes: 80, Hits: 30, Forwarded: 10, Collapsed: 50, Stale: 60, Renewals: 70, Leases: 90, LeasesHeld: 100}
	if got != want || ratio == nil || *ratio != 0.75 {
		t.Errorf("%+v, %v", got, ratio)
	}
	if got, ratio := ratesOf(state(1), state(1), 2); got != (rates{}) || ratio != nil {
		t.Errorf("without a request: %+v, %v", got, ratio)
	}
}

// Close lets a request end, and ends what does not.
func TestCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, takes := range []time.Duration{closeTime / 2, time.Minute} {
			o := options(true)
			began := make(chan bool)
			o.Unready = func() string { close(began); time.Sleep(takes); return "" }
			s, l := New(o), make(pipes)
			served := make(chan error, 1)
			go func() { served <- s.Serve(l, nil) }()
			c := l.dial("/readyz")
			<-began
			start := time.Now()
			answered := make(chan bool)
			go func() {
				_, err := http.ReadResponse(bufio.NewReader(c), nil)
				answered <- err == nil
			}()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > closeTime+time.Second || <-answered != (takes < closeTime) {
				t.Errorf("a request of %v: closed after %v", takes, took)
			}
			<-served
			c.Close()
			time.Sleep(takes)
		}
	})
}
