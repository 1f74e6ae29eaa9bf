package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// dripEvery is how long a slow peer is silent between two pieces.
	dripEvery = 5 * time.Second
	// segment is the size of a slow client's TCP segments, that of the internet:
	// with those of a loopback interface the system buffers megabytes for a client
	// that reads nothing, and the proxy would not see that it is deaf.
	segment = 1460
	// smallWindow is the size of the buffer that it has for what it does not read.
	smallWindow = 4 << 10
	// dialers is how many slow clients connect at a time, and comeEvery how often
	// one of each dialer's comes: 2,000 a second do.
	dialers   = 8
	comeEvery = 4 * time.Millisecond
)

// slowness is a way to be slow.
type slowness struct {
	name, about string
	// first is what the nth client sends at once, and then what it sends each
	// dripEvery; "" for nothing.
	first, then func(n int) string
	// upstream says that each takes a connection to a server, too, and underWay
	// that its request does not end.
	upstream, underWay bool
	// unanswered says that it must not hear from the proxy.
	unanswered bool
	// memory is what each may cost the proxy, in bytes.
	memory int
}

func never(int) string { return "" }

// inTurn gives the nth of texts, over and over.
func inTurn(texts ...string) func(int) string {
	return func(n int) string { return texts[n%len(texts)] }
}

// aGet is a request for what no other client of the throng asks for.
func aGet(query string, fields ...string) func(int) string {
	return func(n int) string {
		return ask{method: "GET", target: fmt.Sprintf("/slow/%d?%s", n, query), fields: fields}.head()
	}
}

// aGetOf is a request for what all of them ask for.
func aGetOf(path, query string, fields ...string) func(int) string {
	return func(int) string { return ask{method: "GET", target: path + "?" + query, fields: fields}.head() }
}

// alternately lets the nth client send what the nth of ways does, over and over.
func alternately(ways ...func(int) string) func(int) string {
	return func(n int) string { return ways[n%len(ways)](n) }
}

const (
	storedFor = "h=CDN-Cache-Control:max-age=600"
	unstored  = "h=CDN-Cache-Control:no-store"
	// silent is a server that says nothing while it is watched, and dripping one
	// whose body comes little by little, then or at once.
	silent   = "delay=14s"
	dripping = "size=4&chunk=1&pause=5s"
	// large is more than the buffers of a connection take in.
	large = "size=1000000"
)

// passes is what makes a request go past the cache.
const passes = "Cache-Control: no-store"

var slownesses = []slowness{
	{
		name: "slow-heads", about: "clients send their request heads byte by byte",
		first: inTurn("GET /", "GET /a HTTP/1.1\r\nHost: "+host+"\r\nX-Slow: "), then: inTurn("x"), unanswered: true, memory: 16 << 10,
	},
	{
		name: "slow-bodies", about: "clients send their request bodies byte by byte",
		first: inTurn(
			ask{method: "POST", target: "/slow", fields: []string{"Content-Length: 1000000"}}.head(),
			ask{method: "POST", target: "/slow", fields: []string{"Transfer-Encoding: chunked"}}.head()),
		then: inTurn("x", "1\r\nx\r\n"), upstream: true, underWay: true, unanswered: true, memory: 28 << 10,
	},
	{
		name: "deaf-clients", about: "clients read nothing of large answers: stored ones, those of fills, and those that pass",
		first: alternately(
			aGetOf("/large", storedFor+"&"+large), aGet(unstored+"&"+large),
			aGetOf("/large", storedFor+"&"+large), aGet(unstored+"&"+large, passes)),
		then: never, upstream: true, underWay: true, memory: 44 << 10,
	},
	{
		name: "dripping-upstreams", about: "servers are silent before their answers, or send them byte by byte",
		first: alternately(
			aGet(unstored+"&"+silent), aGet(unstored+"&"+silent, passes),
			aGet("h=CDN-Cache-Control:max-age=1&"+dripping), aGet(unstored+"&framing=chunked&"+dripping),
			aGet(unstored+"&"+dripping, passes), aGet(unstored+"&framing=chunked&"+dripping, passes)),
		then: never, upstream: true, underWay: true, memory: 36 << 10,
	},
	{
		name: "idle", about: "clients have an answer and ask for nothing more",
		first: alternately(
			aGetOf("/small", storedFor), aGetOf("/small", unstored, passes)),
		then: never, memory: 20 << 10,
	},
}

// throng are slow clients.
type throng struct {
	conns []*net.TCPConn
	then  []string
	quiet []bool // those that must not hear from the proxy
	left  sync.Once
	stop  chan struct{}
	drips sync.WaitGroup
}

// comeSlowly lets n clients of each kind come.
func comeSlowly(ctx context.Context, addr string, n int, kinds []slowness) (*throng, error) {
	t := &throng{conns: make([]*net.TCPConn, n*len(kinds)), then: make([]string, n*len(kinds)), quiet: make([]bool, n*len(kinds)), stop: make(chan struct{})}
	d := net.Dialer{Timeout: patience, Control: makeSmall}
	errs := make([]error, dialers)
	var all sync.WaitGroup
	for w := range dialers {
		all.Go(func() {
			tick := time.NewTicker(comeEvery)
			defer tick.Stop()
			for at := w; at < len(t.conns) && errs[w] == nil; at += dialers {
				<-tick.C
				kind, nth := kinds[at%len(kinds)], at/len(kinds)
				conn, err := d.DialContext(ctx, "tcp", addr)
				if err != nil {
					errs[w] = err
					return
				}
				t.conns[at], t.then[at], t.quiet[at] = conn.(*net.TCPConn), kind.then(nth), kind.unanswered
				_, errs[w] = io.WriteString(conn, kind.first(nth))
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.leave()
		return nil, fmt.Errorf("slow clients: %w", err)
	}
	t.drips.Go(t.drip)
	return t, nil
}

// makeSmall gives a socket the buffers that it would have on the internet.
func makeSmall(_, _ string, raw syscall.RawConn) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		err = errors.Join(
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, segment),
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, smallWindow))
	}); cerr != nil {
		return cerr
	}
	return err
}

// drip sends what clients send little by little, spread evenly over time.
func (t *throng) drip() {
	const steps = 100
	tick := time.NewTicker(dripEvery / steps)
	defer tick.Stop()
	for step := 0; ; step++ {
		select {
		case <-t.stop:
			return
		case <-tick.C:
		}
		for at := step % steps; at < len(t.conns); at += steps {
			if t.then[at] != "" {
				// That the proxy has hung up is seen by heard.
				_, _ = io.WriteString(t.conns[at], t.then[at])
			}
		}
	}
}

// heard counts the clients that heard from the proxy although they must not: an
// answer, or the end of the connection.
func (t *throng) heard() (n int) {
	for at, c := range t.conns {
		if t.quiet[at] && !isSilent(c) {
			n++
		}
	}
	return n
}

func isSilent(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	silent := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		silent = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && silent
}

// leave closes all connections. A second time it does nothing.
func (t *throng) leave() {
	t.left.Do(func() {
		close(t.stop)
		t.drips.Wait()
		for _, c := range t.conns {
			if c != nil {
				_ = c.Close() // it is gone either way
			}
		}
	})
}
