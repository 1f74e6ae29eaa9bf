package admin

import (
	"net/http"
	"sync"
	"time"
)

const (
	// eventPause is the time between two events.
	eventPause = time.Second
	// maxSubscribers bounds the streams of events.
	maxSubscribers = 32
	// maxBehind is how many events a subscriber may be behind, and eventTime how
	// long it may take to accept one; then its stream ends.
	maxBehind = 4
	eventTime = 10 * time.Second
)

// hub sends one event a second to all subscribers. While there are none it does
// nothing.
type hub struct {
	// next makes an event. last is what it was told the last time it was called, nil
	// at first and after a time without subscribers.
	next func(last *moment) (event []byte, now *moment)

	mu          sync.Mutex
	subscribers map[chan []byte]bool
	latest      []byte // event
	working     bool   // while there is a goroutine
	closed      bool
	dropped     uint64 // subscribers that were too slow
	refused     uint64 // those beyond the most

	stop chan struct{}
	work sync.WaitGroup
}

func newHub(next func(*moment) ([]byte, *moment)) *hub {
	return &hub{next: next, subscribers: make(map[chan []byte]bool), stop: make(chan struct{})}
}

// subscribe returns a channel of events, which is closed where the subscriber is
// too slow or the hub closes; nil where there are too many. The caller ends it
// with leave.
func (h *hub) subscribe() chan []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || len(h.subscribers) >= maxSubscribers {
		h.refused++
		return nil
	}
	events := make(chan []byte, maxBehind)
	h.subscribers[events] = true
	if h.latest != nil {
		events <- h.latest
	}
	if !h.working {
		h.working = true
		h.work.Go(h.run)
	}
	return events
}

func (h *hub) leave(events chan []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subscribers, events)
}

// run makes events until there is nobody to hear them.
func (h *hub) run() {
	tick := time.NewTicker(eventPause)
	defer tick.Stop()
	var last *moment
	for h.isHeard() {
		var event []byte
		event, last = h.next(last)
		h.send(event)
		select {
		case <-tick.C:
		case <-h.stop:
		}
	}
}

// isHeard says whether there is somebody; where not, the goroutine has to end.
func (h *hub) isHeard() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.working = len(h.subscribers) > 0 && !h.closed
	if !h.working {
		h.latest = nil
	}
	return h.working
}

func (h *hub) send(event []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.latest = event
	for events := range h.subscribers {
		select {
		case events <- event:
		default:
			h.dropped++
			delete(h.subscribers, events)
			close(events)
		}
	}
}

// close ends all streams, and returns when nothing runs any more.
func (h *hub) close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.stop)
		for events := range h.subscribers {
			delete(h.subscribers, events)
			close(events)
		}
	}
	h.mu.Unlock()
	h.work.Wait()
}

func (h *hub) stats() eventStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return eventStatus{Subscribers: len(h.subscribers), Dropped: h.dropped, Refused: h.refused}
}

// serve streams events (WHATWG HTML, section 9.2, server-sent events): one at once
// and then one a second.
func (h *hub) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	if r.Method == http.MethodHead {
		return
	}
	events := h.subscribe()
	if events == nil {
		w.Header().Set("Retry-After", "5")
		refuse(w, http.StatusServiceUnavailable, "too many streams of events are open")
		return
	}
	defer h.leave(events)
	out := http.NewResponseController(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case event, ok := <-events:
			if !ok || out.SetWriteDeadline(time.Now().Add(eventTime)) != nil {
				return
			}
			for _, part := range [][]byte{[]byte("data: "), event, []byte("\n\n")} {
				if _, err := w.Write(part); err != nil {
					return
				}
			}
			if out.Flush() != nil {
				return
			}
		}
	}
}
