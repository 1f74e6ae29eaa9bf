package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	good  = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	ill   = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
	stuck = "" // takes the connection and never answers
)

// dialTo gives a dial function that reaches, inside a bubble, a server for each
// call, which answers with what respond returns.
func dialTo(respond func(address string) string) dialFunc {
	return func(_ context.Context, _, address string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			defer func() { _ = server.Close() }()
			response := respond(address)
			if response == stuck {
				_, _ = server.Read(make([]byte, 4096)) // the request
				_, _ = server.Read(make([]byte, 1))    // until the probe hangs up
				return
			}
			answer(response)(server)
		}()
		return client, nil
	}
}

// sequence responds with each of these once and then always with the last.
func sequence(responses ...string) func(string) string {
	var n atomic.Int64
	return func(string) string {
		return responses[min(int(n.Add(1)), len(responses))-1]
	}
}

// targets are n targets with the IDs s0, s1 and so on.
func targets(n int) []Target {
	all := make([]Target, n)
	for i := range all {
		all[i] = Target{ID: fmt.Sprintf("s%d", i), Address: fmt.Sprintf("s%d.example:80", i)}
	}
	return all
}

// create makes a group of n targets that is closed when the test ends.
func create(t *testing.T, o Options, n int) *Group {
	t.Helper()
	g, err := NewGroup(o, targets(n))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

func start(t *testing.T, o Options, n int) *Group {
	t.Helper()
	g := create(t, o, n)
	g.Start(t.Context())
	return g
}

// refuse is a dial function that reaches nobody.
func refuse(context.Context, string, string) (net.Conn, error) { return nil, errors.New("gone") }

// told collects events as "s0 live>down: reason".
type told []string

func (l *told) add(e Event) {
	*l = append(*l, fmt.Sprintf("%s %v>%v: %s", e.Target.ID, e.Was, e.Is, e.Reason))
}

// of is a member's handle.
func of(t *testing.T, g *Group, id string) *Member {
	t.Helper()
	for _, s := range g.Shares() {
		if s.Member.ID() == id {
			return s.Member
		}
	}
	t.Fatalf("no member %s", id)
	return nil
}

// report reports results of attempts that took no time: + is a success, - a
// failure. Then it lets the group draw its conclusions.
func report(m *Member, results string) {
	for _, r := range results {
		m.Report(r == '+', 0)
	}
	synctest.Wait()
}

// brief is the standing, factor and count of each member: "live/1 ejected/0x1".
func brief(g *Group) string {
	var all []string
	for _, s := range g.Snapshot() {
		text := fmt.Sprintf("%v/%v", s.Standing, s.Factor)
		if s.Ejections > 0 {
			text += fmt.Sprintf("x%d", s.Ejections)
		}
		if s.Trial {
			text += "?"
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func expect(t *testing.T, g *Group, when, want string) {
	t.Helper()
	synctest.Wait()
	if got := brief(g); got != want {
		t.Errorf("%s: got %q, want %q", when, got, want)
	}
}

// usual is the ejection of most services.
func usual() Ejection { return Ejection{Consecutive: 5, FailurePercent: 25}.withDefaults() }
