package upstream

import (
	"errors"
	"time"
)

// errAbandoned says that a server was found to be down while a request waited
// for it.
var errAbandoned = errors.New("the server is down, and had not answered yet")

// await counts x among those that wait for the server's head.
func (s *server) await(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		x.abandon()
	}
	x.next = s.waiting
	if x.next != nil {
		x.next.prev = x
	}
	s.waiting = x
}

// arrived ends the wait of x. It is false where x was abandoned before.
func (s *server) arrived(x *exchange) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		s.waiting = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	x.prev, x.next = nil, nil
	return !x.abandoned
}

// setDown says whether the server is down. While it is, the requests that wait
// for its head, and those that come to, are abandoned.
func (s *server) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if down {
		for x := s.waiting; x != nil; x = x.next {
			x.abandon()
		}
	}
	s.down = down
}

// abandon breaks off a request that another server may be sent: what does not
// answer its checks will not answer it. The server's mu is held.
func (x *exchange) abandon() {
	if x.limits.movable {
		x.abandoned = true
		x.conn.interrupt()
	}
}

// judge tells health how an exchange went, for which a head had come or not.
// What the client, or this side of the connection, is behind says nothing.
func (x *exchange) judge(err error) {
	m := x.server.health.Load()
	e, failed := errors.AsType[*Error](err)
	switch {
	case !failed:
		m.Report(!x.failed, x.took)
	case e.Kind != Canceled && e.Kind != RequestIncomplete && !x.abandoned:
		m.Report(false, time.Since(x.began))
	}
}
