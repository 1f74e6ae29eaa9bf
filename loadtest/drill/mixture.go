package drill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ringfence/loadtest/keys"
	"ringfence/loadtest/load"
	"ringfence/loadtest/result"
)

const (
	// soakRate is how many requests a second an instance gets whose answers are
	// compared byte for byte, and mixedRate how many others.
	soakRate  = 150
	mixedRate = 150
	// slowOnes is how many slow peers of each kind there are.
	slowOnes = 40
	// mixedKeys is how many keys the others are for.
	mixedKeys = 20_000
)

// soaked is what came of the load of a soak.
type soaked struct {
	asked, late int
	cut         int            // answers that broke off visibly
	none        int            // clients with an error, or nothing
	lost        map[string]int // both, by mishap and fate
	example     string         // of a lost one
	mixed       map[string]int // by outcome
	wrong       int            // answers that look complete and are not
}

func (a soaked) String() string {
	return fmt.Sprintf("%d requests, %d lost, %d cut, %d wrong", a.asked, a.none, a.cut, a.wrong)
}

// add enters the requests of a barrage.
func (a *soaked) add(during string, all shots) {
	if a.lost == nil {
		a.lost = map[string]int{}
	}
	lost := all.lost()
	a.asked += len(all)
	a.late += len(all.where(func(s *shot) bool { return s.sent-s.at > lateBy }))
	for _, s := range lost {
		a.lost[during+": "+s.fate.String()]++
		switch s.fate {
		case wrong:
			a.wrong++
		case cut:
			a.cut++
		default:
			a.none++
		}
		if a.example == "" || s.fate == wrong {
			a.example = fmt.Sprintf("; %s: %s: %v", during, s.fate, s.err)
		}
	}
}

// addMixed enters those whose answers are only counted.
func (a *soaked) addMixed(p result.Phase) {
	if a.mixed == nil {
		a.mixed = map[string]int{}
	}
	for name, n := range p.Outcomes {
		a.mixed[name] += n
	}
}

func (a *soaked) judge(r *Report) {
	part := 100 * float64(a.late) / float64(max(a.asked, 1))
	r.Void = r.Void || part > mostLate
	r.require(fmt.Sprintf("the load: %d requests whose answers are compared; of them sent late", a.asked),
		fmt.Sprintf("at most %d %%, or the drill is void", mostLate), fmt.Sprintf("%.2f %%", part), part <= mostLate)
	share := func(n int) float64 { return 100 * float64(n) / float64(max(a.asked, 1)) }
	// What one machine's hiccup costs is no more than a single request.
	r.require("clients with an error, or without an answer", fmt.Sprintf("at most %.2f %%", mostLost), fmt.Sprintf("%d, %.4f %%%s", a.none, share(a.none), a.example),
		a.none <= 1 || share(a.none) <= mostLost)
	r.require("clients whose answer broke off with the server", fmt.Sprintf("at most %.1f %%", mostCut), fmt.Sprintf("%d, %.4f %%", a.cut, share(a.cut)), share(a.cut) <= mostCut)
	for _, what := range slices.Sorted(maps.Keys(a.lost)) {
		r.note("  of these, while "+what, strconv.Itoa(a.lost[what]))
	}
	r.exactly("answers that look complete and are not", a.wrong, 0)
	mixed := make([]string, 0, len(a.mixed))
	for _, outcome := range slices.Sorted(maps.Keys(a.mixed)) {
		mixed = append(mixed, fmt.Sprintf("%s %d", outcome, a.mixed[outcome]))
	}
	r.note("what came of the others", strings.Join(mixed, ", "))
}

// load begins to ask instances for everything. The function that it returns ends
// that, and enters what came of it.
func (s *soak) load(ctx context.Context, during string, fleet []*instance, to *soaked) func() error {
	barrages := make([]*barrage, 0, len(fleet))
	phases := make([]result.Phase, 2*len(fleet))
	errs := make([]error, len(phases))
	mixing, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	for n, i := range fleet {
		barrages = append(barrages, fire(ctx, i.addr, soakRate/s.env.Margin, "", "?"+unstored, "?h=CDN-Cache-Control:max-age=30", "?h=CDN-Cache-Control:max-age%3D1,stale-while-revalidate%3D5"))
		for k, plan := range mixture(i.addr, mixedRate/s.env.Margin) {
			all.Go(func() { phases[2*n+k], errs[2*n+k] = load.Run(mixing, plan) })
		}
	}
	return func() error {
		for _, b := range barrages {
			to.add(during, b.end())
		}
		stop()
		all.Wait()
		for _, p := range phases {
			to.addMixed(p)
		}
		return errors.Join(errs...)
	}
}

// mixture are plans with requests of every kind: for what is small and large, is
// stored, is not or may not be, by several methods, in part, with variants, and for
// what breaks off; by HTTP/1.1 with connections of their own, and by HTTP/2.
func mixture(addr string, rate float64) [2]load.Plan {
	zipf, err := keys.New(keys.Keys{Law: keys.Zipf, Count: mixedKeys, S: 0.9})
	if err != nil {
		panic(err) // the description is constant
	}
	request := func(i int, at time.Duration, r *rand.Rand) load.Request {
		path := fmt.Sprintf("/mixed/%d", zipf.Next(i, at, r))
		ask := load.Request{Host: host}
		switch i % 20 {
		case 0:
			ask.Method, ask.Target, ask.Body = "POST", path, []byte(strings.Repeat("x", 2000))
		case 1:
			ask.Method, ask.Target = "HEAD", path
		case 2:
			ask.Target, ask.Fields = path, []load.Field{{Name: "Range", Value: "bytes=100-199"}}
		case 3, 4:
			ask.Target = path + "?framing=chunked&size=200000&h=CDN-Cache-Control:max-age%3D5"
		case 5:
			ask.Target = path + "?" + unstored
		case 6:
			ask.Target = path + "?size=100000&cut=50000&end=reset"
		case 7:
			ask.Target = path + "?status=503&h=CDN-Cache-Control:max-age%3D1"
		case 8, 9:
			ask.Target = path + "?h=Content-Type:text/plain&h=Vary:Accept-Encoding"
			ask.Fields = []load.Field{{Name: "Accept-Encoding", Value: []string{"gzip", "identity"}[i/20%2]}}
		default:
			ask.Target = path
		}
		return ask
	}
	own := load.Plan{
		Target: "http://" + addr, Request: request, Rate: rate / 2, Poisson: true, Duration: time.Hour,
		Timeout: patience, Connections: 64, Fresh: true,
	}
	shared := own
	shared.Fresh, shared.HTTP2 = false, true
	return [2]load.Plan{own, shared}
}
