package health

import (
	"testing"
	"time"
)

// reported is a member to report to, and one that has been ejected before.
func reported(t testing.TB) (fresh, back *Member) {
	g, err := NewGroup(Options{Ejection: Ejection{Consecutive: 1 << 60, FailurePercent: 25, LatencyFactor: 3}}, targets(2))
	if err != nil {
		t.Fatal(err)
	}
	shares := g.Shares()
	shares[1].Member.renew(time.Now(), 0)
	return shares[0].Member, shares[1].Member
}

func TestReportAllocatesNothing(t *testing.T) {
	fresh, back := reported(t)
	for _, m := range []*Member{fresh, back} {
		if n := testing.AllocsPerRun(1000, func() {
			m.Report(true, 3*time.Millisecond)
			m.Report(false, 3*time.Millisecond)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

func BenchmarkReport(b *testing.B) {
	fresh, back := reported(b)
	for _, bb := range []struct {
		name string
		m    *Member
		ok   bool
	}{{"success", fresh, true}, {"failure", fresh, false}, {"failure of one that was ejected", back, false}} {
		b.Run(bb.name, func(b *testing.B) {
			bb.m.streak.Store(0)
			b.ReportAllocs()
			for b.Loop() {
				bb.m.Report(bb.ok, 3*time.Millisecond)
			}
		})
		b.Run(bb.name+", parallel", func(b *testing.B) {
			bb.m.streak.Store(0)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					bb.m.Report(bb.ok, 3*time.Millisecond)
				}
			})
		})
	}
}

func BenchmarkTurn(b *testing.B) {
	g, err := NewGroup(Options{Ejection: usual()}, targets(100))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		g.turn(b.Context(), g.epoch)
	}
}
