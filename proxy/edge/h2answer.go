package edge

import (
	"errors"
	"io"
	"net/textproto"

	"github.com/valyala/fasthttp"

	"ringfence/proxy/wire"
)

var errAborted = errors.New("the answer was broken off")

// answer sends what the handler left, as fasthttp's server does: with the length
// of a body that is there, and one that is not as it comes. After an error the
// answer is incomplete.
func (s *stream) answer(resp *fasthttp.Response) error {
	if s.late != nil {
		<-s.late
		clear(s.w.Header())
	}
	status := resp.StatusCode()
	sends := !resp.SkipBody && s.req.Method != "HEAD" && status != 204 && status != 304
	if resp.IsBodyStream() {
		return s.answerStream(resp, sends)
	}
	body := resp.Body()
	if sends || len(body) > 0 {
		resp.Header.SetContentLength(len(body))
	}
	if err := s.begin(resp); err != nil || !sends {
		return err
	}
	_, err := s.send(body)
	return err
}

func (s *stream) answerStream(resp *fasthttp.Response, sends bool) error {
	length := resp.Header.ContentLength()
	err := s.begin(resp)
	if err == nil && sends {
		var n int64
		n, err = io.Copy(s, resp.BodyStream())
		if err == nil && length >= 0 && n != int64(length) {
			err = io.ErrUnexpectedEOF
		}
	}
	return errors.Join(err, resp.CloseBodyStream(), s.aborted())
}

func (s *stream) aborted() error {
	if s.failed {
		return errAborted
	}
	return nil
}

// begin gives net/http the head of the answer. Fields of the connection have no
// place in HTTP/2 (RFC 9113, section 8.2.2). The lines of one name keep their
// order; net/http sorts the names.
func (s *stream) begin(resp *fasthttp.Response) error {
	if err := s.r.Context().Err(); err != nil {
		s.broken = true
		return err
	}
	if err := s.clock.allowWrite(); err != nil {
		return err
	}
	s.begun = true
	h, status := s.w.Header(), resp.StatusCode()
	for name, value := range resp.Header.All() {
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		if !wire.IsHopByHop(key) && (status != 204 || key != "Content-Length") {
			h[key] = append(h[key], string(value))
		}
	}
	for _, name := range [...]string{"Content-Type", "Date"} {
		if len(h[name]) == 0 {
			h[name] = nil // or net/http would make one up
		}
	}
	s.w.WriteHeader(status)
	return nil
}
