package drill

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDrillsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range All() {
		if d.Name == "" || d.About == "" || seen[d.Name] {
			t.Errorf("drill %q: %q", d.Name, d.About)
		}
		seen[d.Name] = true
		if got, ok := Find(d.Name); !ok || got.About != d.About {
			t.Errorf("%s is not found", d.Name)
		}
	}
	if _, ok := Find("none"); ok {
		t.Error("a drill is found that there is not")
	}
}

func TestReport(t *testing.T) {
	var r Report
	r.note("figure", "7")
	r.exactly("same", 1, 1)
	r.exactly("other", 3, 1)
	r.atMost("few", 3, 3)
	r.atMost("many", 4, 3)
	r.within("soon", time.Second, time.Second)
	r.within("late", 1500*time.Millisecond, time.Second)
	r.below("small", 3<<20, 3<<20)
	r.below("large", 3<<20+1, 3<<20)
	r.times("twice", 230*time.Millisecond, 100*time.Millisecond, 2, 2.3, 1)
	r.times("thrice", 300*time.Millisecond, 100*time.Millisecond, 2, 2.3, 2)
	r.times("widened", 259*time.Millisecond, 100*time.Millisecond, 2, 2.3, 2)
	var failed []string
	for _, l := range r.Failed() {
		failed = append(failed, l.What)
	}
	if want := []string{"other", "many", "late", "large", "thrice"}; !reflect.DeepEqual(failed, want) {
		t.Errorf("failed %q, want %q", failed, want)
	}
	var out strings.Builder
	n, err := r.WriteTo(&out)
	if err != nil || n != int64(out.Len()) {
		t.Errorf("wrote %d, %v", n, err)
	}
	for _, want := range []string{"-       figure   7", "ok      same     1", "FAILED  late     1.5s        within 1s"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestAnswersThatAreWrong(t *testing.T) {
	w := content("/a", 100)
	right := answer{status: 200, length: w.length, sum: w.sum}
	wrong := map[string]func(*answer){
		"error":       func(a *answer) { a.err = errors.New("cut") },
		"status":      func(a *answer) { a.status = 502 },
		"short":       func(a *answer) { a.length-- },
		"other bytes": func(a *answer) { a.sum++ },
	}
	if err := w.fault(right); err != nil {
		t.Error(err)
	}
	for name, spoil := range wrong {
		a := right
		spoil(&a)
		var r Report
		r.answers(name, []answer{right, a}, w)
		if len(r.Failed()) != 1 || !strings.HasPrefix(r.Lines[0].Got, "1; ") {
			t.Errorf("%s: %+v", name, r.Lines)
		}
	}
}

func TestReplies(t *testing.T) {
	for text, want := range map[string][]string{
		"+PONG\r\n":                             {"PONG"},
		":7\r\n":                                {"7"},
		"$3\r\na\nb\r\n":                        {"a\nb"},
		"$-1\r\n":                               {""},
		"*0\r\n":                                nil,
		"*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n":    {"a", "b"},
		"-LOADING Redis is loading\r\n":         nil,
		"$9\r\nshort\r\n":                       nil,
		"?\r\n":                                 nil,
		"\r\n":                                  nil,
		"$99999999999\r\n":                      nil,
		"*2\r\n$1\r\na\r\n-ERR in the middle\n": nil,
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(text)))
		if !reflect.DeepEqual(got, want) || (err != nil) != (want == nil && text != "*0\r\n") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	_, err := readReply(bufio.NewReader(strings.NewReader("-LOADING x\r\n")))
	var said refusal
	if !errors.As(err, &said) || said != "LOADING x" {
		t.Errorf("refusal %v", err)
	}
}

// A reply has no more in it than was sent.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{"+PONG\r\n", "$3\r\na\nb\r\n", "*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "*-1\r\n", "$-1\r\n", "-ERR x\r\n", "*9\r\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts, err := readReply(bufio.NewReader(strings.NewReader(text)))
		if size := len(strings.Join(parts, "")); size > len(text) || err != nil && parts != nil {
			t.Errorf("%q: %d bytes in %d parts, %v", text, size, len(parts), err)
		}
	})
}

// An engine ends, comes back without what it held, and each fault begins and
// ends as its name says.
func TestEngine(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := startEngine(ctx, "redis-server", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer e.end()
	e.slowness = 200 * time.Millisecond
	write := func() string {
		c, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		_, err := e.ask(c, "SET", "k", "v")
		switch {
		case err == nil:
			return ""
		case c.Err() != nil:
			return "no answer"
		}
		word, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "engine: "), " ")
		return word
	}
	says := map[string]string{
		"killed": "dial", "paused": "no answer", "slow": "no answer", "full": "OOM", "loading": "LOADING", "readonly": "READONLY",
	}
	for _, f := range faults() {
		if err := f.hurt(ctx, e); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		if got := write(); got != says[f.name] {
			t.Errorf("%s: a write says %q, want %q", f.name, got, says[f.name])
		}
		if err := f.heal(ctx, e); err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		if ok, err := until(ctx, time.Second, func() bool { return write() == "" }); !ok {
			t.Errorf("%s: a write fails when it is over: %v", f.name, err)
		}
	}
	names, err := e.keys(ctx)
	if err != nil || !names["k"] {
		t.Errorf("keys %v, %v", len(names), err)
	}
}

func TestWhatDoesNotRun(t *testing.T) {
	for name, env := range map[string]Env{
		"no proxy":                     {Proxy: "/nonexistent"},
		"no engine":                    {Proxy: "/nonexistent", Engine: "/nonexistent"},
		"a proxy that does not listen": {Proxy: "true"},
	} {
		d, _ := Find("stampede")
		if _, err := d.Run(t.Context(), env); err == nil || !strings.HasPrefix(err.Error(), "drill stampede: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A client's times are those at which its bytes came, not those at which they
// were understood; a crowd's are those of the clients asked about.
func TestTimesOfAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var c crowd
		for i := range 4 {
			here, there := net.Pipe()
			c.conns, c.answers = append(c.conns, here), append(c.answers, answer{})
			c.all.Go(func() {
				defer there.Close()
				for _, part := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "ab", "cd"} {
					time.Sleep(time.Duration(i+1) * time.Second)
					io.WriteString(there, part)
				}
			})
		}
		for i := range c.conns {
			c.all.Go(newClient(c.conns[i], "GET", &c.answers[i], &c.begun).receive)
		}
		c.sent, c.stop = began, func() bool { return true }
		for i, a := range c.wait() {
			unit := time.Duration(i+1) * time.Second
			if a.err != nil || a.text != "abcd" || a.first.Sub(began) != 2*unit || a.ended.Sub(began) != 3*unit {
				t.Errorf("client %d: %q, %v, from %v to %v", i, a.text, a.err, a.first.Sub(began), a.ended.Sub(began))
			}
		}
		first, last := c.between(func(i int) bool { return i%2 == 1 })
		if first != 6*time.Second || last != 12*time.Second || c.took() != last {
			t.Errorf("from %v to %v of %v", first, last, c.took())
		}
	})
}

func TestMemoryOfAProcess(t *testing.T) {
	p, err := startProcess("sleep", "60")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := p.memory("VmHWM"); err != nil || n <= 0 || n > 100<<20 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := p.memory("VmNone"); err == nil {
		t.Error("a size is given that there is not")
	}
	p.kill()
	if _, err := p.memory("VmHWM"); err == nil {
		t.Error("a process that has ended has memory")
	}
}
