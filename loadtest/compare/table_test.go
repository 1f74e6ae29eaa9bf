package compare

import (
	"bufio"
	"strings"
	"testing"
)

func cellOf(peer string, cpu ...float64) Cell {
	c := Cell{Peer: peer}
	for _, us := range cpu {
		c.Rounds = append(c.Rounds, Round{Answers: 100, Seconds: 2, CPU: us, P50: 500, P99: 1500})
	}
	return c
}

func TestSpread(t *testing.T) {
	for _, tt := range []struct {
		list []float64
		want Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{4, 1}, Spread{2.5, 1, 4}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9}},
	} {
		if got := spread(tt.list); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.list, got, tt.want)
		}
	}
}

// Ratios are of rounds, in which both had the same machine, and not of medians.
func TestOver(t *testing.T) {
	own, other := cellOf("a", 10, 40, 11), cellOf("b", 10, 40, 10)
	if got := own.over(other); got != (Spread{1, 1, 1.1}) {
		t.Error(got)
	}
}

func TestJudge(t *testing.T) {
	for _, tt := range []struct {
		scenario string
		cells    []Cell
		want     string // verdicts, in order
	}{
		{"hit-1k", []Cell{cellOf(ringfence, 10), cellOf(fasthttp1, 10)}, "met"},
		{"hit-1k", []Cell{cellOf(ringfence, 11.04), cellOf(fasthttp1, 10)}, "met"},
		{"hit-1k", []Cell{cellOf(ringfence, 12), cellOf(fasthttp1, 10)}, "missed"},
		{"hit-1k", []Cell{cellOf(ringfence, 10), cellOf(nginx, 20), cellOf(haproxy, 10)}, "missed"},
		{"hit-1k", []Cell{cellOf(ringfence, 10), cellOf(nginx, 11), cellOf(haproxy, 20)}, "met"},
		{"hit-1k", []Cell{cellOf(ringfence, 10), cellOf(nginx, 11), {Peer: haproxy, Missing: "it is"}}, "met"},
		{"hit-1k", []Cell{cellOf(ringfence, 10), cellOf(ringfence2, 12)}, "missed"},
		{"hit-100k", []Cell{cellOf(ringfence, 10), cellOf(fasthttp1, 10)}, "met"},
		{"pass-1k", []Cell{cellOf(ringfence, 10), cellOf(fasthttp1, 1), cellOf(nginx, 9), cellOf(haproxy, 10)}, "missed, met"},
		{"pass-1k", []Cell{cellOf(ringfence, 10)}, ""},
		{"pass-1k", []Cell{cellOf(nginx, 10)}, ""},
	} {
		var words []string
		for _, v := range (Table{Scenario: Scenario{Name: tt.scenario}, Cells: tt.cells}).Judge() {
			word := v.Text[strings.LastIndex(v.Text, " ")+1:]
			if (word == "met") != v.Met {
				t.Errorf("%v: %s", v.Met, v.Text)
			}
			words = append(words, word)
		}
		if got := strings.Join(words, ", "); got != tt.want {
			t.Errorf("%s %v: %s, want %s", tt.scenario, tt.cells, got, tt.want)
		}
	}
}

func TestWriteMarkdown(t *testing.T) {
	tables := []Table{
		{Scenario: Scenario{Name: "hit-1k", Size: 1024, Keys: 1}, Cells: []Cell{cellOf(fasthttp1, 8), cellOf(ringfence, 8, 9, 10), {Peer: nginx, Missing: "it is"}}},
		{Scenario: Scenario{Name: "pass-1k", Size: 1024, Keys: 1, Pass: true}, Cells: []Cell{cellOf(ringfence, 20)}},
	}
	var b strings.Builder
	if err := WriteMarkdown(&b, tables); err != nil {
		t.Fatal(err)
	}
	const want = "| CPU time per request, us | fasthttp | ringfence |\n|---|---|---|\n" +
		"| hit, 1 KiB, one key | 8.0 (8.0 to 8.0) | 9.0 (8.0 to 10.0) |\n" +
		"| pass-through, 1 KiB, one key | | 20.0 (20.0 to 20.0) |\n"
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}

func TestReadAnswer(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nA: b\r\ncontent-LENGTH: 3\r\n\r\n"
	for text, fault := range map[string]string{
		head + "abc":                "",
		head + "ab":                 "body",
		"HTTP/1.1 503 Busy\r\n\r\n": "503",
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd": "Content-Length 4, want 3",
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc":  "invalid",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: c\r\n\r\n":  "Content-Length -1",
		"HTTP/1.1 200 OK\r\nContent-Le":                    "EOF",
		"":                                                 "EOF",
	} {
		err := readAnswer(bufio.NewReader(strings.NewReader(text)), 3)
		if (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
			t.Errorf("%q: %v, want %q", text, err, fault)
		}
	}
}

func TestPutNumber(t *testing.T) {
	at := []byte("xxxxxxx")
	for n, want := range map[int]string{0: "0000000", 42: "0000042", 999_999: "0999999"} {
		if putNumber(at, n); string(at) != want {
			t.Errorf("%d: %s", n, at)
		}
	}
}
