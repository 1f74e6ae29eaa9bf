package proxy

import (
	"cmp"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"time"

	"ringfence/proxy/accesslog"
	"ringfence/proxy/cache"
	"ringfence/proxy/edge"
	"ringfence/proxy/upstream"
	"ringfence/singleflight"
)

// record is what the access log is told of one request, gathered on its way. Its
// texts are views of the connection's buffers, which last until the answer was
// written. That is when fasthttp closes it, as a user value of the request; so one
// place ends all of them, whatever was sent, and where. A nil record, of a handler
// without an access log, gathers nothing.
type record struct {
	accesslog.Entry
	h      *Handler
	pool   *sync.Pool
	client edge.Client
	number uint64 // of the connection
}

// recordKey is that of a request's record among its user values.
type recordKey struct{}

// openRecord begins the record of the call's request.
func (c *call) openRecord(connection uint64) *record {
	r := c.h.records.Get().(*record)
	r.h, r.pool, r.client, r.number = c.h, &c.h.records, c.conn, connection
	r.Complete = true
	return r
}

// keepRecord has the caller close the record in place of fasthttp.
func (c *call) keepRecord() *record {
	if c.record != nil {
		c.ctx.RemoveUserValue(recordKey{})
	}
	return c.record
}

// Close implements io.Closer: the answer has ended.
func (r *record) Close() error {
	if r == nil {
		return nil
	}
	r.Complete = r.Complete && !r.client.Broken()
	r.Duration = time.Since(r.Time)
	// A log that took the place of the one of the request's beginning has its line.
	if log := r.h.snap.Load().AccessLog; log != nil {
		log.Write(r.number, &r.Entry)
	}
	pool := r.pool
	*r = record{}
	pool.Put(r)
	return nil
}

// answered notes what the call knows, whose head is about to be sent.
func (r *record) answered(c *call, status int, size int64, took time.Duration) {
	if r == nil {
		return
	}
	req := c.req
	r.Time, r.FirstByte = req.Time, took
	r.Status = status
	if c.out == nil {
		r.Bytes = size
	}
	r.Peer, r.Client = c.conn.Peer(), peerOf(c.conn)
	if r.RequestID = c.id; c.peerTrusted {
		c.findHops()
		r.Client, r.RequestID = c.client(), cmp.Or(c.id, keptID(c.fields, c.snap.RequestID))
	}
	r.Protocol = protocolOf(req)
	r.Scheme = c.target.scheme
	if c.conn.Secure() {
		r.TLS = strings.TrimPrefix(tls.VersionName(c.conn.ConnectionState().Version), "TLS ")
	}
	r.Method, r.Host, r.Target = req.Method, cmp.Or(c.target.authority, req.Fields.Get("Host")), req.Target
	r.Referer, r.UserAgent = req.Fields.Get("Referer"), req.Fields.Get("User-Agent")
	if c.route != nil {
		r.Route, r.Upstream = c.route.name, c.route.pool
		r.HasKey, r.Key = true, c.key.hash
	}
}

// protocolOf is "" where nothing of the request was read.
func protocolOf(req *edge.Request) string {
	switch {
	case req.Method == "":
		return ""
	case req.HTTP2:
		return "HTTP/2.0"
	case req.Minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// cached notes what Cache-Status says.
func (r *record) cached(st cache.Status) {
	if r == nil {
		return
	}
	why := st.Detail
	if r.Cache = "hit"; !st.Hit {
		r.Cache = st.Forward.Forward()
		if why == cache.None {
			why = st.Forward
		}
	}
	if r.Reason = ""; why != cache.None {
		r.Reason = why.String()
	}
	r.HasTTL, r.TTL = st.HasTTL, st.TTL
	r.Stored, r.Collapsed, r.UpstreamStatus = st.Stored, st.Collapsed, st.ForwardStatus
}

// aged notes the age of the answer.
func (r *record) aged(age time.Duration) {
	if r != nil {
		r.HasAge, r.Age = true, age
	}
}

// asked notes what came of asking the upstream for this request alone.
func (r *record) asked(since time.Time, resp *upstream.Response, err error) {
	if r == nil {
		return
	}
	r.UpstreamTime += time.Since(since)
	if resp != nil {
		r.Server = resp.Server
		r.Attempts += resp.Attempts
		return
	}
	r.blame(err)
}

// flew notes what came of a flight that was joined, as its leader or behind one.
func (r *record) flew(since time.Time, leader bool, hd *head, err error) {
	if r == nil {
		return
	}
	took := time.Since(since)
	switch {
	case !leader || hd != nil && (hd.found || hd.copied):
		r.Wait += took
		if hd != nil {
			r.Server = hd.server
		}
	case hd != nil:
		r.UpstreamTime += took
		r.Server = hd.server
		r.Attempts += hd.attempts
	default:
		r.UpstreamTime += took
		r.blame(err)
	}
}

// blame notes who failed.
func (r *record) blame(err error) {
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		r.Server = e.Server
		r.Attempts += e.Attempts
	}
}

// failed notes why there is no answer, or another one than the upstream's.
func (r *record) failed(why string) {
	if r != nil && why != "" {
		r.Error = why
	}
}

// refused notes why the request was not taken further.
func (r *record) refused(why string) {
	if r != nil {
		r.Reason, r.Error = "refused", why
	}
}

// sent notes what was sent of a body, and why that is not all of it. Where it is
// the client that took no more there is no error.
func (r *record) sent(n int64, err error) {
	if r == nil {
		return
	}
	r.Bytes += n
	switch r.Complete = err == nil; {
	case err == nil, r.client.Broken():
	case errors.Is(err, singleflight.ErrTooSlow):
		r.Error = "client_too_slow"
	default:
		r.Error = failureOf(err).kind
	}
}

// tunnelled ends the record of a tunnel, which has sent so much to the client.
func (r *record) tunnelled(n int64, end TunnelEnd) {
	if r == nil {
		return
	}
	r.Bytes = n
	if r.Complete = end == TunnelClosed; !r.Complete {
		r.Error = "tunnel_" + end.String()
	}
	_ = r.Close() // it cannot fail
}
