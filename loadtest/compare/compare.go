package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Options say what is measured. Proxy and Self are required.
type Options struct {
	Proxy       string // Ringfence's program
	Self        string // the program that has the command floor, see ServeFloor
	Scenarios   []Scenario
	Peers       []Peer
	Rounds      int           // of each peer; default 5
	Duration    time.Duration // of each round; default 5 s
	Connections int           // default 64
	// Progress is told of each step; nil: nobody is.
	Progress func(text string)
}

func (o Options) withDefaults() Options {
	if o.Rounds <= 0 {
		o.Rounds = 5
	}
	if o.Duration <= 0 {
		o.Duration = 5 * time.Second
	}
	if o.Connections <= 0 {
		o.Connections = 64
	}
	if o.Scenarios == nil {
		o.Scenarios = Scenarios()
	}
	if o.Peers == nil {
		o.Peers = Peers()
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o
}

// Run measures every peer in every scenario, and ends what it has started. What
// cannot be measured says why in its cell; the error is that nothing could.
func Run(ctx context.Context, o Options) (tables []Table, err error) {
	o = o.withDefaults()
	all, err := cores()
	if err != nil {
		return nil, err
	}
	// Those who are measured have the first core for themselves, if there are others.
	b := bench{Options: o, all: all, rest: all[min(1, len(all)-1):]}
	if err := pin(os.Getpid(), b.rest); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, pin(os.Getpid(), all)) }()
	if b.folder, err = os.MkdirTemp("", "compare"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	if b.memory, err = os.MkdirTemp(inMemory(), "compare"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.memory)) }()
	for _, s := range o.Scenarios {
		t, err := b.table(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// inMemory is a folder whose files are in memory, else "".
func inMemory() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return ""
}

type bench struct {
	Options
	all, rest      []int // cores: those there are, and those of the load and the origin
	folder, memory string
}

// runner is a peer that runs.
type runner struct {
	*server
	cell *Cell
}

// table measures all peers in one scenario. They run all the time, and wait while
// another one is measured.
func (b bench) table(ctx context.Context, s Scenario) (Table, error) {
	cacheControl := "public, max-age=3600"
	if s.Pass {
		cacheControl = "no-store"
	}
	addr, port, err := freeAddr()
	if err != nil {
		return Table{}, err
	}
	origin, err := start(ctx, "the origin", addr,
		[]string{b.Self, "floor", "--listen", addr, "--size", strconv.Itoa(s.Size), "--cache-control", cacheControl}, b.rest)
	if err != nil {
		return Table{}, err
	}
	defer origin.stop()
	t := Table{Scenario: s, Connections: b.Connections, Cells: make([]Cell, len(b.Peers))}
	var runners []runner
	defer func() {
		for _, r := range runners {
			r.stop()
		}
	}()
	for i, p := range b.Peers {
		cell := &t.Cells[i]
		cell.Peer = p.Name
		if cell.Missing = p.missing(); cell.Missing != "" {
			continue
		}
		b.Progress(fmt.Sprintf("%s: %s is started and filled", s.Name, p.Name))
		server, err := b.launch(ctx, p, s, origin.addr, port)
		if err == nil {
			runners = append(runners, runner{server, cell})
			err = b.fill(ctx, server, s, origin.addr, p.Name == fasthttp1)
		}
		switch {
		case ctx.Err() != nil:
			return Table{}, context.Cause(ctx)
		case err != nil:
			cell.Missing = err.Error()
		}
	}
	runners = slices.DeleteFunc(runners, func(r runner) bool {
		if r.cell.Missing != "" {
			r.stop()
		}
		return r.cell.Missing != ""
	})
	for round := range b.Rounds {
		for i := range runners {
			r := runners[(i+round)%len(runners)]
			b.Progress(fmt.Sprintf("%s: round %d of %d, %s", s.Name, round+1, b.Rounds, r.name))
			if err := b.measure(ctx, r, s, origin.addr); err != nil {
				return Table{}, fmt.Errorf("%s: %w: %s", r.name, err, r.text)
			}
		}
	}
	for _, r := range runners {
		r.cell.Memory = memory(r.cmd.Process.Pid)
	}
	return t, nil
}

func (b bench) launch(ctx context.Context, p Peer, s Scenario, origin, originPort string) (*server, error) {
	to := site{
		scenario: s, folder: filepath.Join(b.folder, s.Name+"-"+p.Name), cache: filepath.Join(b.memory, s.Name+"-"+p.Name),
		origin: origin, originPort: originPort, proxy: b.Proxy, self: b.Self, connections: b.Connections, workers: p.workers,
	}
	for _, folder := range []string{to.folder, to.cache} {
		if err := os.Mkdir(folder, 0o777); err != nil {
			return nil, err
		}
	}
	var err error
	if to.addr, to.port, err = freeAddr(); err != nil {
		return nil, err
	}
	if to.admin, _, err = freeAddr(); err != nil {
		return nil, err
	}
	command, err := p.command(to)
	if err != nil {
		return nil, err
	}
	return start(ctx, p.Name, to.addr, command, b.all[:min(p.workers, len(b.all))])
}

// checks is how many answers are looked at before a peer is measured.
const checks = 100

// fill has a server answer for every key once, and makes sure that it does what the
// scenario is about. The floor has no origin.
func (b bench) fill(ctx context.Context, to *server, s Scenario, origin string, isFloor bool) error {
	if s.Keys > 1 || !s.Pass {
		if _, err := (load{to.addr, b.Connections, s, true}).run(ctx); err != nil {
			return fmt.Errorf("while it is filled: %w", err)
		}
	}
	for round := range 2 { // an answer may be stored a moment after it is sent
		before, err := counted(ctx, origin)
		if err != nil {
			return err
		}
		for i := range checks {
			body, err := get(ctx, to.addr, s.target(i%s.Keys))
			if err != nil {
				return err
			}
			if !bytes.Equal(body, bodyOf(s.Size)) {
				return fmt.Errorf("%s is answered by other %d bytes than the origin's", s.target(i%s.Keys), len(body))
			}
		}
		after, err := counted(ctx, origin)
		if err != nil {
			return err
		}
		want := int64(0)
		if s.Pass && !isFloor {
			want = checks
		}
		if asked := after - before; asked != want && round == 1 {
			return fmt.Errorf("of %d requests %d reached the origin, want %d", checks, asked, want)
		}
	}
	return nil
}

// measure adds a round to a server's cell.
func (b bench) measure(ctx context.Context, r runner, s Scenario, origin string) error {
	pid := r.cmd.Process.Pid
	asked, err := counted(ctx, origin)
	if err != nil {
		return err
	}
	before, err := cpuTime(pid)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, b.Duration)
	defer cancel()
	began := time.Now()
	t, err := load{r.addr, b.Connections, s, false}.run(limited)
	took := time.Since(began)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case t.answers == 0:
		return errors.New("there was no answer")
	}
	after, err := cpuTime(pid)
	if err != nil {
		return err
	}
	now, err := counted(ctx, origin)
	if err != nil {
		return err
	}
	r.cell.Rounds = append(r.cell.Rounds, Round{
		Answers: t.answers, Seconds: took.Seconds(),
		CPU: float64(after-before) / float64(time.Microsecond) / float64(t.answers),
		P50: float64(t.latency.ValueAtPercentile(50)), P99: float64(t.latency.ValueAtPercentile(99)),
		Origin: now - asked,
	})
	return nil
}
