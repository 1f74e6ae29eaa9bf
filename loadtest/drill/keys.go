package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"ringfence/loadtest/origin"
)

const (
	// manyKeys are asked for at once, one in twin of them of two instances.
	manyKeys, twin = 10_000, 10
	manySize       = 1 << 10
	// each is what a request may take of an instance while it waits for its fill:
	// a buffer of max_head_size for each of its two connections and one of 4 KiB
	// to write, some 12 KiB for what was read and what is to be stored, all of it
	// twice, since the collector lets garbage grow as large as what is in use; and
	// four goroutines' stacks of 8 KiB.
	each = 2*(2*16+4+12)<<10 + 4*8<<10
	// kept is what an object takes that is stored.
	kept = 2 * (manySize + 5<<10)
)

var coldKeys = Drill{
	Name:  "cold-keys",
	About: "10,000 cold keys that take the origin 1 s are asked for at once, twice over, and no instance needs much memory",
	// A connection to a server serves one request at a time, and by default an
	// instance has 1024 to each. This process has both ends of 20,000.
	setup: setup{app: ", max_connections: 10000, connect_timeout: 10s"},
	scene: func(ctx context.Context, s *stage) error {
		start, err := s.memory("VmRSS")
		if err != nil {
			return err
		}
		keys := int(manyKeys / s.env.Margin) // a slow build would take as much longer
		share := (keys + keys/twin + len(s.fleet) - 1) / len(s.fleet)
		for n := range 2 {
			if err := s.manyAtOnce(ctx, n, keys); err != nil {
				return err
			}
			peak, err := s.memory("VmHWM")
			if err != nil {
				return err
			}
			s.below(fmt.Sprintf("wave %d: an instance's memory at its peak, beyond the start", n+1), peak-start,
				int64(float64(share*(each+n*kept))*s.env.Margin))
		}
		return nil
	},
}

// manyAtOnce asks for keys that nobody has asked for.
func (s *stage) manyAtOnce(ctx context.Context, wave, keys int) error {
	path := func(k int) string { return fmt.Sprintf("/many/%d/%d", wave, k) }
	body := func(path string) string { return path + strings.Repeat(".", manySize-len(path)) }
	all := make([]ask, 0, keys+keys/twin)
	for k := range keys {
		a := after(time.Second, origin.Text("max-age=60", body(path(k))))
		a.Ending = origin.Close // else the connections of all instances add up
		s.serve(path(k), always(a))
		all = append(all, ask{to: s.fleet[k%len(s.fleet)], target: path(k)})
		if k%twin == 0 {
			all = append(all, ask{to: s.fleet[(k+1)%len(s.fleet)], target: path(k)})
		}
	}
	c := s.send(ctx, all...)
	good, example := 0, ""
	for i, a := range c.wait() {
		if err := text(body(all[i].target)).fault(a); err == nil {
			good++
		} else if example == "" {
			example = "; " + err.Error()
		}
	}
	total, most := 0, 0
	for k := range keys {
		n := s.count(path(k))
		total, most = total+n, max(most, n)
	}
	what := fmt.Sprintf("wave %d: ", wave+1)
	s.require(what+"clients with the whole answer", fmt.Sprintf("all of %d", len(all)), fmt.Sprintf("%d%s", good, example), good == len(all))
	s.atMost(what+"requests to the origin for a key of one instance, or for each of two", most, 2)
	// So many calls at once are more than an engine answers in time: past 256 of
	// an instance, and ten timeouts of waiting, it goes on by itself.
	s.note(what+"keys of two instances that were fetched once", fmt.Sprintf("%d of %d", len(all)-total, len(all)-keys))
	s.note(what+"the last client's answer after", short(c.took()))
	return s.settle(ctx)
}

// memory is the most that an instance of the fleet has of what Linux calls
// VmRSS or VmHWM, in bytes.
func (s *stage) memory(field string) (most int64, err error) {
	for _, i := range s.fleet {
		n, err := i.memory(field)
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}

// memory reads one of the sizes that Linux knows of a process, in bytes.
func (p *process) memory(field string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("memory: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == field+":" {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("memory: no " + field)
}
