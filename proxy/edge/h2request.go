package edge

import (
	"slices"
	"time"

	"ringfence/proxy/wire"
)

// readRequest sets the request from what net/http read, in the terms of HTTP/1.1.
// net/http has refused what breaks the grammar of HTTP/2 by then (RFC 9113,
// section 8.2): upper case in names, pseudo-fields that are missing, repeated or
// out of place, fields of a connection; and has joined the lines of Cookie
// (section 8.2.3). Of fields with different names it has forgotten the order.
func (s *stream) readRequest() {
	r, lim := s.r, &s.h.limits
	s.req.HTTP2, s.req.Time = true, time.Now()
	fields := s.req.Fields[:0]
	fields = append(fields, wire.Field{Name: "Host", Value: r.Host})
	s.names = s.names[:0]
	for name := range r.Header {
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	for _, name := range s.names {
		if name != "Host" {
			for _, value := range r.Header[name] {
				fields = append(fields, wire.Field{Name: name, Value: value})
			}
		}
	}
	if r.ContentLength < 0 {
		fields = append(fields, wire.Field{Name: "Transfer-Encoding", Value: "chunked"})
	}
	s.req.RequestHead, s.req.Refusal = wire.JudgeRequestHead(r.Method, r.RequestURI, fields, wire.RequestLimits{
		MaxTarget: lim.MaxTarget, MaxFields: lim.MaxFields,
	})
	if s.req.Refusal == nil {
		s.req.Refusal = s.judge()
	}
	if s.req.Refusal != nil || s.req.Length == 0 {
		return
	}
	s.body = Body{Length: s.req.Length, src: streamBody{r.Body}, clock: &s.clock, max: lim.MaxBody, missed: &s.conn.c.door.late[lateBody]}
	s.req.Body = &s.body
}

// judge looks for what HTTP/1 cannot say, or has its limits elsewhere for.
func (s *stream) judge() *wire.Refusal {
	refuse := func(status int, why string) *wire.Refusal { return &wire.Refusal{Status: status, Why: why} }
	r, lim, req := s.r, &s.h.limits, &s.req
	hosts := r.Header["Host"]
	switch {
	case len(hosts) > 1 || len(hosts) > 0 && hosts[0] != r.Host:
		return refuse(400, "a Host that is not the authority") // RFC 9113, section 8.3.1
	case req.Method != "CONNECT" && req.Target[0] != '/' && req.Target != "*":
		return refuse(400, "the path is none")
	case req.Length >= 0 && req.Length != r.ContentLength:
		return refuse(400, "a Content-Length without a body") // section 8.1.1
	}
	return judgeSize(req, lim)
}

// headSize is what the head would take in HTTP/1.1.
func headSize(r *Request) int {
	n := len(r.Method) + len(r.Target) + len("  HTTP/1.1\r\n\r\n")
	for _, f := range r.Fields {
		n += len(f.Name) + len(f.Value) + len(": \r\n")
	}
	return n
}
