package proxy

import (
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"ringfence/proxy/wire"
)

// interimTimeout bounds the writing of an interim response, which a client's
// receive buffer has room for.
const interimTimeout = time.Second

// interim forwards the interim responses (1xx, RFC 9110, section 15.2) of one
// request to its client while that waits for the final one. It goes to nobody
// else: only the final response says for whom it is. A nil interim drops them.
type interim struct {
	mu   sync.Mutex
	conn net.Conn // nil once the final answer is about to begin
}

// openInterim lets interim responses through to the client from now on, if its
// version of HTTP knows them.
func (c *call) openInterim() *interim {
	if !c.ctx.Request.Header.IsHTTP11() {
		return nil
	}
	return &interim{conn: c.ctx.Conn()}
}

// forward writes one interim response. It may be called by the goroutine of a
// fill.
func (i *interim) forward(status int, fields wire.Fields) {
	if i == nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.conn == nil {
		return
	}
	head := strconv.AppendInt([]byte("HTTP/1.1 "), int64(status), 10)
	head = append(append(head, ' '), http.StatusText(status)...)
	head = append(head, "\r\n"...)
	for _, f := range wire.EndToEnd(nil, fields) {
		if !wire.EqualFold(f.Name, "Content-Length") { // RFC 9110, section 8.6
			head = wire.AppendField(head, f.Name, f.Value)
		}
	}
	head = append(head, "\r\n"...)
	err := i.conn.SetWriteDeadline(time.Now().Add(interimTimeout))
	if err == nil {
		_, err = i.conn.Write(head)
	}
	if err != nil {
		// A part of a head may be on its way: nothing can follow it.
		_ = i.conn.Close()
		i.conn = nil
	}
}

// end is called before the final answer is begun. What comes later is dropped.
func (i *interim) end() {
	if i == nil {
		return
	}
	i.mu.Lock()
	i.conn = nil
	i.mu.Unlock()
}
