package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"ringfence/loadtest/load"
	"ringfence/loadtest/origin"
	"ringfence/loadtest/result"
)

// Progress is how far a run has come.
type Progress struct {
	Phase        string
	Nth, Of      int           // which of the phases
	Left         time.Duration // of this one; 0 where only its requests end it
	Tick         result.Tick
	Sent, Failed int // requests of the phase so far
}

// Play plays the scenario and judges it. When ctx ends, what came until then is
// returned, as void. The error says that the origin could not be asked.
func (s *Scenario) Play(ctx context.Context, label string, progress func(Progress)) (result.Run, error) {
	r := result.Run{Name: s.name, Label: label, Target: s.target, Started: time.Now().UTC().Truncate(time.Second)}
	began := time.Now()
	for i, p := range s.phases {
		at := Progress{Phase: p.name, Nth: i + 1, Of: len(s.phases)}
		play := func(plan load.Plan) (result.Phase, error) { return s.one(ctx, plan, began, at, progress) }
		var err error
		if p.search != nil {
			err = p.find(ctx, &r, play)
		} else {
			err = p.once(&r, play)
		}
		if err != nil {
			return r, fmt.Errorf("%s: %w", p.name, err)
		}
		if ctx.Err() != nil {
			r.Void = append(r.Void, p.name+": broken off")
			break
		}
	}
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

type player func(load.Plan) (result.Phase, error)

// once plays a phase as it is.
func (p phase) once(r *result.Run, play player) error {
	got, err := play(p.plan)
	if err != nil {
		return err
	}
	got.Name, got.Warmup = p.name, p.warmup
	r.Phases = append(r.Phases, got)
	if p.warmup {
		return nil
	}
	if why := behind(got); why != "" {
		r.Void = append(r.Void, p.name+": "+why)
	}
	r.Thresholds = append(r.Thresholds, p.judge(got)...)
	return nil
}

func (p phase) judge(got result.Phase) (list []result.Threshold) {
	for _, t := range p.thresholds {
		list = append(list, t.judge(got))
	}
	return list
}

// mostBehind is the part of the requests that may be late, or not sent at all, before
// a rate counts as not kept.
const mostBehind = 0.01

// behind says why a phase did not keep its own rate; "" if it did.
func behind(p result.Phase) string {
	unsent := p.Due - p.Sent
	if !p.Open || float64(max(unsent, p.Late)) <= mostBehind*float64(p.Due) {
		return ""
	}
	why := "this machine is too slow for it, or busy"
	if 2*p.Busy >= p.Late {
		why = "all connections were waiting for answers: want more of them, or a faster server"
	}
	return fmt.Sprintf("the rate was not kept: of %d requests %d were sent over 10 ms late and %d not at all; %s", p.Due, p.Late, unsent, why)
}

// closeEnough is where a search ends: the highest rate is known to this part of it.
const closeEnough = 0.05

// find looks for the highest rate at which the thresholds are met: it doubles the rate
// until they are not, and halves the distance from then on. Each rate is a step, and
// the best of them is judged as the phase.
func (p phase) find(ctx context.Context, r *result.Run, play player) error {
	var best *result.Phase
	low, high, rate, missed := 0.0, p.search.To, p.search.From, false
	for {
		plan := p.plan
		plan.Rate, plan.To = rate, rate
		got, err := play(plan)
		if err != nil {
			return err
		}
		got.Name, got.Warmup = fmt.Sprintf("%s at %.0f/s", p.name, rate), true
		r.Phases = append(r.Phases, got)
		if ctx.Err() != nil {
			return nil
		}
		if p.holds(got) {
			best, low = &got, rate
		} else {
			high, missed = rate, true
		}
		if low == p.search.To || missed && high-low <= closeEnough*high || best == nil && rate == p.search.From {
			break
		}
		rate = min(2*low, high)
		if missed {
			rate = math.Round((low + high) / 2)
		}
	}
	if best == nil {
		r.Thresholds = append(r.Thresholds, result.Threshold{
			Phase: p.name, Text: fmt.Sprintf("rate >= %.0f", p.search.From), Shown: "not kept, or a threshold missed, at the lowest rate",
		})
		return nil
	}
	got := *best
	got.Name, got.Warmup = p.name, p.warmup
	r.Phases = append(r.Phases, got)
	r.Thresholds = append(r.Thresholds, p.judge(got)...)
	return nil
}

// holds reports whether a rate was kept and met the thresholds.
func (p phase) holds(got result.Phase) bool {
	for _, t := range p.judge(got) {
		if !t.Met {
			return false
		}
	}
	return behind(got) == ""
}

// one plays a plan, with what reached the origin meanwhile.
func (s *Scenario) one(ctx context.Context, plan load.Plan, began time.Time, at Progress, progress func(Progress)) (result.Phase, error) {
	if err := s.ask(ctx, http.MethodDelete, nil); err != nil {
		return result.Phase{}, err
	}
	start := time.Now()
	plan.Progress = func(t result.Tick) {
		at.Tick = t
		at.Sent += t.Sent
		at.Failed += t.Classes[0] + t.Classes[5]
		if plan.Duration > 0 {
			at.Left = max(plan.Duration-time.Since(start), 0)
		}
		progress(at)
	}
	got, err := load.Run(ctx, plan)
	if err != nil {
		return got, err
	}
	got.Start = start.Sub(began).Seconds()
	if s.origin == "" {
		return got, nil
	}
	var counts origin.Counts
	// What came is worth telling, also after the end.
	if err := s.ask(context.WithoutCancel(ctx), http.MethodGet, &counts); err != nil {
		return got, err
	}
	got.Origin = &result.Origin{Requests: counts.Requests, Keys: counts.Keys, PerKey: counts.PerKey, Peak: counts.Peak}
	return got, nil
}

// originTime bounds the wait for the origin's counts.
const originTime = 5 * time.Second

// ask asks the origin, if there is one to ask, for its counts.
func (s *Scenario) ask(ctx context.Context, method string, counts *origin.Counts) (err error) {
	if s.origin == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, originTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.origin+origin.ControlPath, nil)
	if err != nil {
		return err
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("the origin's counts: %w", err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("the origin's counts: %s %s is answered with %s: want an origin with --control", method, req.URL, resp.Status)
	}
	if counts == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(counts); err != nil {
		return fmt.Errorf("the origin's counts: %w", err)
	}
	return nil
}
