// Package result is what came of a run, as data and as a file.
package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Format is the version of the file. A reader refuses another one.
const Format = 1

// Run is what came of a scenario.
type Run struct {
	Format  int       `json:"format"`
	Name    string    `json:"name"`            // of the scenario
	Label   string    `json:"label,omitempty"` // what the user calls this run
	Target  string    `json:"target"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	Phases  []Phase   `json:"phases"`
	// Thresholds are in the scenario's order.
	Thresholds []Threshold `json:"thresholds,omitempty"`
	// Void says why the figures mean nothing; empty: they do.
	Void []string `json:"void,omitempty"`
}

// Phase is what came of a part of a run.
type Phase struct {
	Name    string  `json:"name"`
	Warmup  bool    `json:"warmup,omitempty"` // not judged
	Open    bool    `json:"open"`             // requests were sent by the clock, else after answers
	Start   float64 `json:"start"`            // seconds after the run's
	Seconds float64 `json:"seconds"`          // from the first request to the last answer
	// Due is how many requests were to be sent, 0 where the answers decide that.
	Due int `json:"due,omitempty"`
	// Sent are those that were; Late of them over 10 ms after their time, and Busy of
	// these because all connections were waiting for answers.
	Sent int `json:"sent"`
	Late int `json:"late,omitempty"`
	Busy int `json:"busy,omitempty"`
	// Outcomes count requests by status, such as "200", or by what became of them.
	Outcomes map[string]int `json:"outcomes"`
	Example  string         `json:"example,omitempty"` // the first error met
	Hits     int            `json:"hits"`              // answers that say they come from a cache
	Told     int            `json:"told"`              // answers that say whether they do
	Bytes    int64          `json:"bytes"`             // of bodies
	Latency  Histogram      `json:"latency"`           // of answered requests, from when each was to be sent
	First    Histogram      `json:"first"`             // the same to the first byte
	Series   []Tick         `json:"series"`
	Origin   *Origin        `json:"origin,omitempty"`
}

// Tick is what came of a moment; latencies are in microseconds.
type Tick struct {
	At      float64 `json:"at"`      // its end, in seconds after the phase's start
	Seconds float64 `json:"seconds"` // how long it was
	Sent    int     `json:"sent"`
	// Classes are answers by the first digit of their status, and those without at 0.
	Classes [6]int  `json:"classes"`
	Hits    int     `json:"hits"`
	Told    int     `json:"told"`
	Bytes   int64   `json:"bytes"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
}

// With returns the moment and the one that follows as one, whose median and p99 are
// those of the first.
func (t Tick) With(next Tick) Tick {
	t.At, t.Seconds = next.At, t.Seconds+next.Seconds
	t.Sent += next.Sent
	t.Hits += next.Hits
	t.Told += next.Told
	t.Bytes += next.Bytes
	t.Max = max(t.Max, next.Max)
	for i, n := range next.Classes {
		t.Classes[i] += n
	}
	return t
}

// Answered is how many answers came.
func (t Tick) Answered() (n int) {
	for _, class := range t.Classes[1:] {
		n += class
	}
	return n
}

// Origin is what reached the origin in a phase.
type Origin struct {
	Requests int `json:"requests"`
	Keys     int `json:"keys"`
	PerKey   int `json:"per_key"` // the most for one key
	Peak     int `json:"peak"`    // the most at one moment for one key
}

// Threshold is a condition on a phase, and what came of it.
type Threshold struct {
	Phase string  `json:"phase"`
	Text  string  `json:"text"`
	Value float64 `json:"value"` // in the unit of the text
	Met   bool    `json:"met"`
	Shown string  `json:"shown"` // the value for people
}

// Lost is how many requests had no answer below 500.
func (p Phase) Lost() int {
	lost := p.Sent
	for name, n := range p.Outcomes {
		if IsStatus(name) && name < "500" {
			lost -= n
		}
	}
	return lost
}

// Answered is how many requests had an answer.
func (p Phase) Answered() (n int) {
	for name, count := range p.Outcomes {
		if IsStatus(name) {
			n += count
		}
	}
	return n
}

// Rate is answers a second.
func (p Phase) Rate() float64 { return float64(p.Answered()) / max(p.Seconds, 1e-9) }

// HitRatio is the part of the answers that come from a cache, of those that say so
// or the contrary; ok is false where none does.
func (p Phase) HitRatio() (ratio float64, ok bool) {
	if p.Told == 0 {
		return 0, false
	}
	return float64(p.Hits) / float64(p.Told), true
}

// IsStatus reports whether an outcome is a status.
func IsStatus(outcome string) bool {
	return len(outcome) == 3 && outcome[0] >= '1' && outcome[0] <= '5'
}

// Failed are the thresholds that were not met.
func (r Run) Failed() (failed []Threshold) {
	for _, t := range r.Thresholds {
		if !t.Met {
			failed = append(failed, t)
		}
	}
	return failed
}

// Title is how a run is called.
func (r Run) Title() string {
	if r.Label != "" {
		return r.Label
	}
	return r.Name
}

// Write writes the run as JSON.
func (r Run) Write(w io.Writer) error {
	r.Format = Format
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// Save writes the run to a file.
func (r Run) Save(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.Write(f), f.Close())
}

// Load reads a run from a file.
func Load(path string) (Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return Run{}, err
	}
	defer func() { _ = f.Close() }()
	r, err := Read(f)
	if err != nil {
		return Run{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Read reads a run.
func Read(from io.Reader) (Run, error) {
	var r Run
	if err := json.NewDecoder(from).Decode(&r); err != nil {
		return Run{}, fmt.Errorf("not what came of a run: %w", err)
	}
	if r.Format != Format {
		return Run{}, fmt.Errorf("format %d, want %d: made by another version, run it again", r.Format, Format)
	}
	return r, nil
}
