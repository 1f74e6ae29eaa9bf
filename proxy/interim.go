package proxy

import (
	"slices"
	"sync"

	"ringfence/proxy/edge"
	"ringfence/proxy/wire"
)

// interim forwards the interim responses (1xx, RFC 9110, section 15.2) of one
// request to its client while that waits for the final one. It goes to nobody
// else: only the final response says for whom it is. A nil interim drops them.
type interim struct {
	mu     sync.Mutex
	client edge.Client // nil once the final answer is about to begin
}

// openInterim lets interim responses through to the client from now on, if its
// version of HTTP knows them.
func (c *call) openInterim() *interim {
	if c.req.Minor == 0 {
		return nil
	}
	return &interim{client: c.conn}
}

// forward writes one interim response. It may be called by the goroutine of a
// fill.
func (i *interim) forward(status int, fields wire.Fields) {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.client == nil {
		return
	}
	shown := slices.DeleteFunc(wire.EndToEnd(nil, fields), func(f wire.Field) bool {
		return wire.EqualFold(f.Name, "Content-Length") // RFC 9110, section 8.6
	})
	if i.client.Interim(status, shown) != nil {
		i.client = nil // the final answer fails as well
	}
}

// end is called before the final answer is begun. What comes later is dropped.
func (i *interim) end() {
	if i == nil {
		return
	}
	i.mu.Lock()
	i.client = nil
	i.mu.Unlock()
}
