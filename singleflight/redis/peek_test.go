package redis

import (
	"testing"
	"time"

	"ringfence/singleflight"
)

// Peek finds what a flight would find, in each of a log's states, and leaves the
// engine as it was: no lease, and nothing that lives longer.
func TestPeek(t *testing.T) {
	s := startServer(t)
	in := fleet(t, 1, Options{}, s)[0]
	whole := page{Name: "n", Length: 3, Keep: time.Minute}
	of := whole
	of.Of = "en"
	waited := page{Name: "w", Length: 3}
	for name, tt := range map[string]struct {
		page    page
		verdict singleflight.Verdict
		variant string // that is looked for
		spoil   string
		want    Found
	}{
		"nothing":   {spoil: "DEL", want: FoundNothing},
		"whole":     {page: whole, verdict: singleflight.Store, want: FoundWhole},
		"variant":   {page: of, verdict: singleflight.Store, variant: "en", want: FoundWhole},
		"another":   {page: of, verdict: singleflight.Store, variant: "de", want: FoundNothing},
		"unkept":    {page: waited, verdict: singleflight.Store, want: FoundNothing},
		"private":   {page: waited, verdict: singleflight.Private, want: FoundPrivate},
		"foreign":   {page: whole, verdict: singleflight.Store, spoil: "SET", want: FoundNothing},
		"under way": {spoil: "HOLD", want: FoundFill},
	} {
		t.Run(name, func(t *testing.T) {
			key := Key{Name: name, Variant: tt.variant}
			log := in.e.logKey(Key{Name: name})
			if tt.spoil == "HOLD" {
				s.must("XADD", log, "5-0", "token", seal(log, kindOpen, opening{attempt: 1, born: in.e.nodes[0].line.position()}.encode()))
			} else if tt.spoil != "DEL" {
				in.get(name, give(tt.page, tt.verdict, 0, 0, []byte("abc")))
				eventually(t, 5*time.Second, "all is written", func() bool { return in.e.Stats().Leading == 0 })
			}
			if tt.spoil == "SET" {
				s.must("SET", log, "x")
			}
			before := s.must("DBSIZE")
			p, err := in.e.Peek(t.Context(), key)
			if err != nil || p.Found != tt.want || s.must("DBSIZE") != before {
				t.Errorf("%+v, %v; want %d", p, err, tt.want)
			}
			if tt.want == FoundWhole && (p.Stored.Length != 3 || len(p.Stored.Bytes) == 0 || p.Left > time.Minute || p.Left < 50*time.Second) {
				t.Errorf("%+v", p)
			}
		})
	}
	s.kill()
	if _, err := in.e.Peek(t.Context(), Key{Name: "x"}); err == nil {
		t.Error("an engine that is away has answered")
	}
}
