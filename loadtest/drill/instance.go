package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// startTime is how long a process may take until it can be used.
const startTime = 15 * time.Second

// instance is a running proxy.
type instance struct {
	*process
	name        string
	addr, admin string
}

// startInstance runs a proxy and waits until it listens.
func startInstance(ctx context.Context, binary, name, config string) (*instance, error) {
	p, err := startProcess(binary, "run", "--config", config)
	if err != nil {
		return nil, err
	}
	i := &instance{process: p, name: name}
	ok, err := until(ctx, startTime, func() bool { return i.listens() || p.ended() })
	if err != nil || !ok || i.addr == "" {
		p.kill()
		return nil, errors.Join(fmt.Errorf("instance %s does not listen; its log ends with: %s", name, p.log.tail()), err)
	}
	return i, nil
}

// listens reads the addresses from the log.
func (i *instance) listens() bool {
	for line := range strings.Lines(i.log.String()) {
		var l struct{ Msg, Address, Admin string }
		if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "listening" {
			i.addr, i.admin = l.Address, l.Admin
			return true
		}
	}
	return false
}

// troubles returns what in the log must never be there.
func (i *instance) troubles() []string {
	var found []string
	log := i.log.String()
	for _, bad := range []string{"panic", "DATA RACE", "fatal error"} {
		if strings.Contains(log, bad) {
			found = append(found, bad)
		}
	}
	return found
}

// flights asks the instance how many fills are under way.
func (i *instance) flights(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.admin+"/api/status", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, fmt.Errorf("instance %s: %w", i.name, err)
	}
	defer func() { _ = resp.Body.Close() }()
	var s struct {
		Flights struct {
			InProgress int `json:"in_progress"`
		} `json:"flights"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return 0, fmt.Errorf("instance %s: status: %w", i.name, err)
	}
	return s.Flights.InProgress, nil
}

// settle waits until no fill is under way: what was answered is stored then, as
// far as it may be.
func (i *instance) settle(ctx context.Context) error {
	var failed error
	ok, err := until(ctx, startTime, func() bool {
		var n int
		n, failed = i.flights(ctx)
		return failed != nil || n == 0
	})
	switch {
	case failed != nil:
		return failed
	case err == nil && !ok:
		return fmt.Errorf("instance %s: a fill has no end", i.name)
	}
	return err
}

// operate tells the proxy what to do with a server.
func (i *instance) operate(ctx context.Context, what, server string) error {
	_, err := call(ctx, http.MethodPost, "http://"+i.admin+"/api/"+what+"?upstream=app&server="+url.QueryEscape(server), "")
	return err
}

// vitals are what a proxy holds on to.
type vitals struct {
	goroutines, descriptors int
	underWay                int      // requests, fills, those who wait, by all gauges
	busy                    []string // the gauges that are not zero
	heap                    int64    // in use, in bytes
	memory                  int64    // of the process, in bytes; 0 where nobody asked
}

func (i *instance) vitals(ctx context.Context) (v vitals, err error) {
	m, err := i.metrics(ctx)
	if err != nil {
		return v, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.cmd.Process.Pid))
	v.goroutines, v.descriptors, v.heap = int(m["go_goroutines"]), len(files), int64(m["go_memstats_heap_inuse_bytes"])
	for series, value := range m {
		name, _, _ := strings.Cut(strings.TrimPrefix(series, "ringfence_"), "{")
		switch name {
		case "requests_in_flight", "fills_in_progress", "fill_waiters", "fill_buffered_bytes",
			"upstream_server_in_flight", "upstream_server_queued", "client_connections":
			if value != 0 {
				v.underWay += int(value)
				v.busy = append(v.busy, fmt.Sprintf("%s %.0f", strings.TrimPrefix(series, "ringfence_"), value))
			}
		}
	}
	return v, err
}

// metrics are the proxy's, by series as Prometheus writes them.
func (i *instance) metrics(ctx context.Context) (map[string]float64, error) {
	text, err := call(ctx, http.MethodGet, "http://"+i.admin+"/metrics", "")
	m := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			m[line[:at]] = v
		}
	}
	return m, err
}

// String is what is of interest at rest.
func (v vitals) String() string {
	return fmt.Sprintf("%d goroutines, %d descriptors, %.1f MiB%s", v.goroutines, v.descriptors, float64(v.memory)/(1<<20), strings.Join(append([]string{""}, v.busy...), ", "))
}
