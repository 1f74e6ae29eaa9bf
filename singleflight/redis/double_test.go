package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// double is an engine in memory: what scripts.go says, once more, in Go.
// TestDouble holds the two together.
type double struct {
	mu      sync.Mutex
	logs    map[string]*doubleLog
	fields  map[string]string // of the members
	order   []string
	line    []doubleEntry
	ears    map[string]map[*func()]struct{}
	appends int // that were refused
}

type doubleEntry struct {
	fence, seq   uint64
	field, value string
}

type doubleLog struct {
	entries []doubleEntry
	expires time.Time
}

func newDouble() *double {
	d := &double{ears: make(map[string]map[*func()]struct{})}
	d.flush()
	return d
}

// flush loses all data.
func (d *double) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logs, d.fields, d.order, d.line = make(map[string]*doubleLog), make(map[string]string), nil, nil
}

func (e doubleEntry) id() string { return number(e.fence) + "-" + number(e.seq) }
func (e doubleEntry) reply() value {
	return list(text(e.id()), list(text(e.field), text(e.value)))
}

func text(s string) value         { return value{s: s} }
func num(n int64) value           { return value{n: n} }
func list(l ...value) value       { return value{list: l} }
func parse(s string) uint64       { n, _ := strconv.ParseUint(s, 10, 64); return n }
func span(s string) time.Duration { return time.Duration(parse(s)) * time.Millisecond }

func splitID(id string) (fence, seq uint64) {
	a, b, _ := strings.Cut(id, "-")
	return parse(a), parse(b)
}

// log gives a log that has not expired.
func (d *double) log(key string) *doubleLog {
	l := d.logs[key]
	if l != nil && !time.Now().Before(l.expires) {
		delete(d.logs, key)
		return nil
	}
	return l
}

func (d *double) held(key, id, token string) *doubleLog {
	l := d.log(key)
	if l == nil || l.entries[0].id() != id || l.entries[0].field != token {
		return nil
	}
	return l
}

func (d *double) publish(channel string) {
	for wake := range d.ears[channel] {
		(*wake)()
	}
}

func (d *double) eval(_ context.Context, s script, keys, args []string) (value, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch s {
	case scriptJoin:
		return d.join(keys, args), nil
	case scriptAppend:
		l := d.held(keys[0], args[0], args[1])
		if l == nil {
			d.appends++
			return num(0), nil
		}
		for i := 4; i < len(args); i += 2 {
			seq := parse(args[3]) + uint64(i-4)/2
			if seq > l.entries[len(l.entries)-1].seq {
				l.entries = append(l.entries, doubleEntry{l.entries[0].fence, seq, args[i], args[i+1]})
			}
		}
		l.expires = time.Now().Add(span(args[2]))
		d.publish(keys[0])
		return num(1), nil
	case scriptRenew:
		v := value{list: make([]value, len(keys))}
		for i, key := range keys {
			if l := d.held(key, args[2*i+1], args[2*i+2]); l != nil {
				l.expires = time.Now().Add(span(args[0]))
				v.list[i].n = 1
			}
		}
		return v, nil
	case scriptDrop:
		if d.held(keys[0], args[0], args[1]) == nil {
			return num(0), nil
		}
		delete(d.logs, keys[0])
		d.publish(keys[0])
		return num(1), nil
	case scriptSync:
		return d.sync(args), nil
	case scriptBump:
		if id, ok := d.fields["line"]; !ok || id == args[3] && parse(d.fields["at"]) < parse(args[4]) {
			d.begin(args[1])
		}
		at := parse(d.fields["at"]) + 1
		d.set("at", number(at))
		d.line = append(d.line, doubleEntry{at, 0, "t", args[2]})
		d.publish(keys[0])
		return list(text(d.fields["line"]), text(number(at))), nil
	case scriptLaggards:
		var live, laggards int64
		if born, ok := d.fields["born"]; ok && uint64(time.Now().UnixMilli())-parse(born) < parse(args[2]) {
			laggards++
		}
		for _, f := range slices.Clone(d.order) {
			if !strings.HasPrefix(f, "i:") {
				continue
			}
			w := strings.Fields(d.fields[f])
			if parse(w[0]) <= uint64(time.Now().UnixMilli()) {
				delete(d.fields, f)
				d.order = slices.DeleteFunc(d.order, func(o string) bool { return o == f })
				continue
			}
			live++
			if w[2] != args[0] || parse(w[1]) < parse(args[1]) {
				laggards++
			}
		}
		return list(num(live), num(laggards)), nil
	}
	return value{}, fmt.Errorf("no script %d", s)
}

func (d *double) set(field, v string) {
	if _, ok := d.fields[field]; !ok {
		d.order = append(d.order, field)
	}
	d.fields[field] = v
}

func (d *double) join(keys, args []string) value {
	now := uint64(time.Now().UnixMicro())
	if l := d.log(keys[0]); l != nil {
		if l.entries[0].id() != args[0] {
			return l.read(now, 1, args)
		}
		now = max(now, l.entries[0].fence+1)
	} else if len(keys) > 1 {
		l := d.log(keys[1])
		if l != nil && l.entries[0].id() != args[0] && len(l.entries) > 1 && l.entries[1].field == "h" {
			if v := l.entries[1].value; len(v) >= 16 && v[8:16] == args[6] {
				return l.read(now, 2, args)
			}
		}
	}
	e := doubleEntry{now, 0, args[3], args[4]}
	d.logs[keys[0]] = &doubleLog{[]doubleEntry{e}, time.Now().Add(span(args[5]))}
	return list(num(1), text(e.id()), num(0))
}

func (l *doubleLog) read(now uint64, which int64, args []string) value {
	entries, size, more := []value{}, 0, int64(0)
	fence, seq := splitID(args[1])
	first, rest := l.entries[0], slices.Clone(l.entries)
	if fence == first.fence {
		rest = slices.DeleteFunc(rest, func(e doubleEntry) bool { return e.seq <= seq })
	}
	for more == 0 || size < int(parse(args[2])) {
		n := min(4, len(rest))
		for _, e := range rest[:n] {
			entries = append(entries, e.reply())
			size += len(e.value)
		}
		rest, more = rest[n:], 1
		if n < 4 {
			more = 0
			break
		}
	}
	left := time.Until(l.expires).Milliseconds()
	return list(num(0), text(first.id()), num(left), text(strconv.FormatInt(int64(now)-int64(first.fence), 10)), num(more), value{list: entries}, num(which))
}

func (d *double) begin(line string) {
	d.line = nil
	d.set("line", line)
	d.set("at", "0")
	d.set("born", fmt.Sprint(time.Now().UnixMilli()))
}

func (d *double) sync(args []string) value {
	id, ok := d.fields["line"]
	at, applied := parse(d.fields["at"]), parse(args[2])
	if !ok || id == args[1] && at < applied {
		id, at = args[3], 0
		d.begin(id)
	}
	entries, lost := []value{}, int64(0)
	switch {
	case args[1] == "0":
		applied = at
	case id != args[1]:
		applied = 0
	}
	if applied < at {
		for _, e := range d.line {
			if e.fence > applied && len(entries) < 256 {
				entries = append(entries, e.reply())
			}
		}
		if len(entries) == 0 || entries[0].at(0).s != number(applied+1)+"-0" {
			entries, lost = entries[:0], 1
		}
	}
	d.set("i:"+args[0], fmt.Sprint(uint64(time.Now().UnixMilli())+parse(args[4]), " ", applied, " ", id))
	return list(text(id), text(number(at)), num(lost), value{list: entries})
}

func (d *double) listen(ctx context.Context, channel string, ready, wake func()) error {
	d.mu.Lock()
	if d.ears[channel] == nil {
		d.ears[channel] = make(map[*func()]struct{})
	}
	d.ears[channel][&wake] = struct{}{}
	d.mu.Unlock()
	ready()
	<-ctx.Done()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.ears[channel], &wake)
	return ctx.Err()
}

func (d *double) close() {}

// shape is a reply with its fences named in the order in which they came up
// and without what depends on the moment.
func shape(v value, names map[string]string) string {
	var b strings.Builder
	var write func(v value)
	fence := regexp.MustCompile(`^\d{15,}`)
	write = func(v value) {
		b.WriteString(fence.ReplaceAllStringFunc(v.s, func(f string) string {
			if names[f] == "" {
				names[f] = fmt.Sprint("F", len(names))
			}
			return names[f]
		}))
		if v.n != 0 {
			fmt.Fprint(&b, v.n)
		}
		b.WriteByte('[')
		for _, e := range v.list {
			write(e)
		}
		b.WriteByte(']')
	}
	if len(v.list) == 7 {
		if left := v.list[2].n; left > 0 {
			v.list[2].n = (left + 999) / 1000 // expiries are far apart
		}
		v.list[3] = value{}
	}
	write(v)
	return b.String()
}

// TestDouble holds the double to what a real engine does.
func TestDouble(t *testing.T) {
	s := startServer(t)
	engine, err := dial(&Options{}, []string{s.addr})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.close()
	seeds := 30
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		s.must("FLUSHALL")
		rng := rand.New(rand.NewPCG(uint64(seed), 7))
		engines := []backend{engine, newDouble()}
		ids := [2][]string{{"", "1-0"}, {"", "1-0"}} // first entries, by engine
		names := [2]map[string]string{{}, {}}
		line := [2][]string{{"0", "7"}, {"0", "7"}}
		one := func(n int) int { return rng.IntN(n) }
		var trace []string
		for step := range 60 {
			key := fmt.Sprint("k{x}", one(2))
			which, token, seq, ttl := one(len(ids[0])), fmt.Sprint("t", one(3)), one(6), fmt.Sprint(1000*(1+one(20))+500)
			sc := []script{scriptJoin, scriptJoin, scriptAppend, scriptAppend, scriptRenew, scriptDrop, scriptSync, scriptBump, scriptLaggards}[one(9)]
			big, at, inst, last := strings.Repeat("x", one(3)*200), one(4), one(3), one(len(ids[0]))
			nudge := one(12) == 0
			var got [2]string
			for i, e := range engines {
				id := ids[i][which]
				fence, _, _ := strings.Cut(ids[i][last], "-")
				keys, args := []string{key}, []string(nil)
				switch sc {
				case scriptJoin:
					rejected := ""
					if nudge {
						rejected = id
					}
					args = []string{rejected, fence + "-" + fmt.Sprint(seq), "300", token, "open", ttl, "variant" + fmt.Sprint(seq%2)}
					if at > 1 {
						keys = append(keys, "k{x}"+fmt.Sprint(at%2))
					}
				case scriptAppend:
					args = []string{id, token, ttl, fmt.Sprint(seq + 1), "h", "checksumvariant" + fmt.Sprint(step%2, step), "c", big}
				case scriptRenew:
					keys, args = []string{key, "k{x}0"}, []string{ttl, id, token, id, "t0"}
				case scriptDrop:
					args = []string{id, token}
				case scriptSync:
					keys, args = []string{"{l}l", "{l}m"}, []string{fmt.Sprint("i", inst), line[i][one2(at, len(line[i]))], fmt.Sprint(at), fmt.Sprint(step + 10), "60000"}
				case scriptBump:
					keys, args = []string{"{l}l", "{l}m"}, []string{"8192", fmt.Sprint(step + 10), "tags", line[i][one2(at, len(line[i]))], fmt.Sprint(one2(seq, 4) * 3)}
				case scriptLaggards:
					keys, args = []string{"{l}l", "{l}m"}, []string{line[i][one2(at, len(line[i]))], fmt.Sprint(at), []string{"0", "60000"}[seq%2]}
				}
				v, err := e.eval(context.Background(), sc, keys, args)
				if sc == scriptJoin {
					ids[i] = append(ids[i], v.at(1).s)
				}
				if sc == scriptSync || sc == scriptBump {
					line[i] = append(line[i], v.at(0).s)
				}
				got[i] = fmt.Sprint(shape(v, names[i]), err)
			}
			trace = append(trace, fmt.Sprintf("%d %s -> %s", sc, key, got[0]))
			if got[0] != got[1] {
				t.Fatalf("seed %d, step %d:\n%s\nthe double: %s", seed, step, strings.Join(trace, "\n"), got[1])
			}
		}
	}
}

func one2(n, limit int) int { return (n * 7) % limit }

var errCut = errors.New("cut off")
