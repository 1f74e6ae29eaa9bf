// Package scenario reads from a file what a load is to be, plays it, and judges what
// came of it.
package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"ringfence/loadtest/keys"
)

// File is a scenario as it is written down. What a phase leaves out it has from the
// file itself.
type File struct {
	Name       string   `yaml:"name"`
	Target     string   `yaml:"target"`   // such as http://127.0.0.1:8080
	Origin     string   `yaml:"origin"`   // where the origin tells its counts, such as http://127.0.0.1:9001
	Protocol   string   `yaml:"protocol"` // http/1.1 (default) or h2
	TLS        TLS      `yaml:"tls"`
	Timeout    Duration `yaml:"timeout"` // of each request; default 10s
	Traffic    `yaml:",inline"`
	Phases     []Phase  `yaml:"phases"`
	Thresholds []string `yaml:"thresholds"` // of every phase but warm-ups; default: errors = 0

	folder string // that paths in it begin at
}

// TLS says whom to trust.
type TLS struct {
	CA       string `yaml:"ca"` // a file with certificates, PEM
	Insecure bool   `yaml:"insecure"`
}

// Traffic is what requests are like.
type Traffic struct {
	Connections    int       `yaml:"connections"`     // most requests under way at once in an open loop; default 256
	NewConnections bool      `yaml:"new_connections"` // each request has one of its own
	ReadRate       Bytes     `yaml:"read_rate"`       // a second at which clients take answers; default: as they come
	Keys           *Keys     `yaml:"keys"`            // default: one key
	Sizes          *Sizes    `yaml:"sizes"`           // what {size} stands for; default 1KiB
	Requests       []Request `yaml:"requests"`        // default: GET /{key}
	Checks         *Checks   `yaml:"checks"`          // of every answer; default: none
}

// Keys say which keys requests are for.
type Keys struct {
	Count  int      `yaml:"count"`
	Law    string   `yaml:"law"`   // in-turn (default), uniform, zipf, hot or moving
	S      float64  `yaml:"s"`     // of zipf
	Share  float64  `yaml:"share"` // of hot
	Part   int      `yaml:"part"`  // of moving
	Every  Duration `yaml:"every"` // of moving
	List   string   `yaml:"list"`  // a file with a key on each line; then count is theirs
	Prefix string   `yaml:"prefix"`
}

// Sizes are of answers, by key: fixed, or between two by chance.
type Sizes struct {
	From   Bytes   `yaml:"from"`
	To     Bytes   `yaml:"to"`
	Median Bytes   `yaml:"median"` // log-normal around it
	Spread float64 `yaml:"spread"`
}

// Request is one kind of request.
type Request struct {
	Weight  int               `yaml:"weight"` // how often among the others; default 1
	Method  string            `yaml:"method"` // default GET
	Path    string            `yaml:"path"`   // with places
	Host    string            `yaml:"host"`
	Headers map[string]string `yaml:"headers"` // with places
	Body    string            `yaml:"body"`    // with places
}

// Checks say what an answer must be to be right.
type Checks struct {
	Status  []int             `yaml:"status"`  // one of these
	Headers map[string]string `yaml:"headers"` // each is there and has this in its value
}

// Phase is a part of a scenario: an open loop by rate, a closed one by clients, or a
// search.
type Phase struct {
	Name       string   `yaml:"name"`
	Warmup     bool     `yaml:"warmup"` // it is not judged
	Duration   Duration `yaml:"duration"`
	Count      int      `yaml:"count"`    // of requests, at most
	Rate       float64  `yaml:"rate"`     // requests a second
	To         float64  `yaml:"to"`       // what rate has become at the end
	Arrivals   string   `yaml:"arrivals"` // even (default) or poisson
	Clients    int      `yaml:"clients"`
	Think      Duration `yaml:"think"`
	Search     *Search  `yaml:"search"`
	Traffic    `yaml:",inline"`
	Thresholds []string `yaml:"thresholds"`
}

// Search looks for the highest rate at which the thresholds are met.
type Search struct {
	From float64  `yaml:"from"`
	To   float64  `yaml:"to"`
	Hold Duration `yaml:"hold"` // how long each rate is tried
}

// Duration is one such as 200ms.
type Duration time.Duration

// UnmarshalYAML implements yaml.Unmarshaler.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	got, err := time.ParseDuration(n.Value)
	if err != nil || got < 0 || n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: want a duration such as 200ms, got %q", n.Line, n.Value)
	}
	*d = Duration(got)
	return nil
}

// Bytes is a number of bytes, such as 1000, 4KiB or 1MiB.
type Bytes int64

var bytesPattern = regexp.MustCompile(`^([0-9]{1,12})(B|KiB|MiB|GiB)?$`)

// UnmarshalYAML implements yaml.Unmarshaler.
func (b *Bytes) UnmarshalYAML(n *yaml.Node) error {
	part := bytesPattern.FindStringSubmatch(strings.ReplaceAll(n.Value, " ", ""))
	if part == nil || n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: want a number of bytes such as 4KiB, got %q", n.Line, n.Value)
	}
	got, err := strconv.ParseInt(part[1], 10, 64)
	*b = Bytes(got << map[string]int{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[part[2]])
	return err
}

// UnmarshalYAML implements yaml.Unmarshaler: a single size is a fixed one.
func (s *Sizes) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		if err := s.From.UnmarshalYAML(n); err != nil {
			return err
		}
		s.To = s.From
		return nil
	}
	type plain Sizes // has no method
	return strictly(n, (*plain)(s))
}

// strictly decodes a node, of which nothing may be unknown: the decoder's own word on
// that does not reach into methods.
func strictly(n *yaml.Node, to any) error {
	text, err := yaml.Marshal(n)
	if err != nil {
		return err
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("line %d and those that follow: %w", n.Line, err)
	}
	return nil
}

// ReadFile reads a scenario.
func ReadFile(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := Read(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.folder = filepath.Dir(path)
	if f.Name == "" {
		f.Name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	return f, nil
}

// Read reads a scenario whose paths begin at the process's folder.
func Read(r io.Reader) (*File, error) {
	f := new(File)
	d := yaml.NewDecoder(r)
	d.KnownFields(true)
	if err := d.Decode(f); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is empty")
		}
		return nil, err
	}
	return f, nil
}

// over returns the traffic of a phase: what it leaves out is the file's.
func (t Traffic) over(file Traffic) Traffic {
	if t.Connections == 0 {
		t.Connections = file.Connections
	}
	t.NewConnections = t.NewConnections || file.NewConnections
	if t.ReadRate == 0 {
		t.ReadRate = file.ReadRate
	}
	if t.Keys == nil {
		t.Keys = file.Keys
	}
	if t.Sizes == nil {
		t.Sizes = file.Sizes
	}
	if t.Requests == nil {
		t.Requests = file.Requests
	}
	if t.Checks == nil {
		t.Checks = file.Checks
	}
	return t
}

// mostListed bounds the keys of a list, and their bytes.
const (
	mostListed      = 10_000_000
	mostListedBytes = 1 << 30
)

// source returns what draws keys, and what each is called.
func (k *Keys) source(folder string) (keys.Source, func(int) string, error) {
	if k == nil {
		k = &Keys{Count: 1}
	}
	law, ok := map[string]keys.Law{
		"": keys.InTurn, "in-turn": keys.InTurn, "uniform": keys.Uniform, "zipf": keys.Zipf, "hot": keys.Hot, "moving": keys.Moving,
	}[k.Law]
	if !ok {
		return keys.Source{}, nil, fmt.Errorf("keys: law %q: want in-turn, uniform, zipf, hot or moving", k.Law)
	}
	count, name := k.Count, func(i int) string { return k.Prefix + strconv.Itoa(i) }
	if k.List != "" {
		list, err := readList(filepath.Join(folder, k.List), k.List)
		if err != nil {
			return keys.Source{}, nil, fmt.Errorf("keys: %w", err)
		}
		if count > len(list) {
			return keys.Source{}, nil, fmt.Errorf("keys: count %d: the list has %d", count, len(list))
		}
		if count == 0 {
			count = len(list)
		}
		name = func(i int) string { return k.Prefix + list[i] }
	}
	source, err := keys.New(keys.Keys{Law: law, Count: count, S: k.S, Share: k.Share, Part: k.Part, Every: time.Duration(k.Every)})
	if err != nil {
		return keys.Source{}, nil, fmt.Errorf("keys: %w", err)
	}
	return source, name, nil
}

func readList(path, given string) ([]string, error) {
	if filepath.IsAbs(given) {
		path = given
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > mostListedBytes {
		return nil, fmt.Errorf("%s: more than 1 GiB", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	if len(list) == 0 || len(list) > mostListed {
		return nil, fmt.Errorf("%s: want 1 to %d keys, a line each, got %d", path, mostListed, len(list))
	}
	return list, nil
}

// sizes returns what {size} stands for.
func (s *Sizes) sizes() (keys.Sizes, error) {
	if s == nil {
		return keys.Sizes{Low: 1 << 10, High: 1 << 10}, nil
	}
	to := s.To
	if s.Median > 0 && to == 0 {
		to = 1 << 40
	}
	k := keys.Sizes{Low: int64(s.From), High: int64(to), Median: int64(s.Median), Spread: s.Spread}
	if err := k.Check(); err != nil {
		return k, fmt.Errorf("sizes: %w", err)
	}
	return k, nil
}
