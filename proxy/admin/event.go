package admin

import (
	"encoding/json"
	"fmt"
	"time"

	"ringfence/proxy"
)

// event is one of /api/events: the state, and what came of it since the event
// before. Its JSON form is the interface: fields may be added, not changed.
type event struct {
	Time time.Time `json:"time"`
	// Seconds are what Rates, HitRatio and Latency are of: since the event before,
	// and 0 in the first one, which has none of them.
	Seconds  float64         `json:"seconds"`
	Rates    rates           `json:"rates"`
	HitRatio *float64        `json:"hit_ratio"` // null without a request
	Latency  latency         `json:"latency"`
	Status   status          `json:"status"`
	HotKeys  hotKeys         `json:"hot_keys"`
	Failures []failureStatus `json:"failures"` // the newest first
}

// rates are each so many in a second.
type rates struct {
	Answers    float64 `json:"answers"`
	Errors     float64 `json:"errors"` // answers of 5xx
	Bytes      float64 `json:"bytes"`  // of answers' bodies
	Hits       float64 `json:"hits"`
	Forwarded  float64 `json:"forwarded"`
	Collapsed  float64 `json:"collapsed"`
	Stale      float64 `json:"stale"`
	Renewals   float64 `json:"renewals"`
	Leases     float64 `json:"leases"`      // of the fleet that were taken
	LeasesHeld float64 `json:"leases_held"` // fills that found another instance leading
}

type hotKeys struct {
	Seconds float64  `json:"seconds"` // what the counts are of
	Keys    []hotKey `json:"keys"`
}

type hotKey struct {
	Key      string `json:"key"` // its hash, to purge it by
	Route    string `json:"route"`
	Text     string `json:"text"` // host and target of one of the requests, cut
	Requests uint64 `json:"requests"`
}

type failureStatus struct {
	Time    time.Time `json:"time"`
	Route   string    `json:"route"`
	Method  string    `json:"method"`
	URL     string    `json:"url"` // cut
	Status  int       `json:"status"`
	Kind    string    `json:"kind"`
	Server  string    `json:"server,omitempty"`
	Error   string    `json:"error"`
	Skipped uint64    `json:"skipped,omitempty"` // failures between this and the one before
}

// shownKeys is how many of the hottest keys an event has.
const shownKeys = 20

// moment is the state when an event was made.
type moment struct {
	at    time.Time
	state State
}

// event makes the next event.
func (s *Server) event(last *moment) ([]byte, *moment) {
	now := &moment{time.Now(), s.o.State()}
	e := event{
		Time: now.at.UTC(), Status: s.statusNow(now.state),
		HotKeys: hotKeysOf(s.o.HotKeys(shownKeys)), Failures: failuresOf(s.o.Failures()),
	}
	if last != nil {
		e.Seconds = now.at.Sub(last.at).Seconds()
		e.Rates, e.HitRatio = ratesOf(last.state, now.state, e.Seconds)
		e.Latency = latencyOf(last.state, now.state)
	}
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // it is all numbers, texts and times
	}
	return text, now
}

// ratesOf is what became of one state in so many seconds.
func ratesOf(was, is State, seconds float64) (rates, *float64) {
	a, b := countsOf(was), countsOf(is)
	if seconds <= 0 {
		return rates{}, nil
	}
	per := func(of func(counts) uint64) float64 { return float64(of(b)-of(a)) / seconds }
	r := rates{
		Answers:    per(func(c counts) uint64 { return c.answers }),
		Errors:     per(func(c counts) uint64 { return c.Status[5] }),
		Bytes:      per(func(c counts) uint64 { return c.Bytes.Sum() }),
		Hits:       per(func(c counts) uint64 { return c.Hits }),
		Forwarded:  per(func(c counts) uint64 { return c.forwarded }),
		Collapsed:  per(func(c counts) uint64 { return c.Collapsed }),
		Stale:      per(func(c counts) uint64 { return c.Stale }),
		Renewals:   per(func(c counts) uint64 { return c.Renewals }),
		Leases:     per(func(c counts) uint64 { return c.taken }),
		LeasesHeld: per(func(c counts) uint64 { return c.held }),
	}
	hits, all := b.Hits-a.Hits, b.Hits+b.forwarded-a.Hits-a.forwarded
	if all == 0 {
		return r, nil
	}
	ratio := float64(hits) / float64(all)
	return r, &ratio
}

// counts are what rates are made of.
type counts struct {
	proxy.Stats
	answers, forwarded, taken, held uint64
}

func countsOf(st State) counts {
	c := counts{Stats: st.Proxy.Requests}
	for _, n := range c.Status {
		c.answers += n
	}
	for _, n := range c.Forwarded {
		c.forwarded += n
	}
	if f := st.Proxy.Fleet; f != nil {
		c.taken, c.held = uint64(f.Taken), uint64(f.HeldElsewhere)
	}
	return c
}

func hotKeysOf(hot proxy.HotKeys) hotKeys {
	out := hotKeys{Seconds: hot.Over.Seconds(), Keys: make([]hotKey, len(hot.Keys))}
	for i, k := range hot.Keys {
		out.Keys[i] = hotKey{Key: fmt.Sprintf("%016x", k.Hash), Route: k.Route, Text: k.Text, Requests: k.Requests}
	}
	return out
}

func failuresOf(list []proxy.Failure) []failureStatus {
	out := make([]failureStatus, len(list))
	for i, f := range list {
		out[i] = failureStatus{
			Time: f.Time.UTC(), Route: f.Route, Method: f.Method, URL: f.URL, Status: f.Status, Kind: f.Kind,
			Server: f.Server, Error: f.Error, Skipped: f.Skipped,
		}
	}
	return out
}
