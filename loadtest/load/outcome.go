package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
)

// The outcomes of requests that have no status.
const (
	Refused  = "refused"   // nobody listens
	Canceled = "canceled"  // the run was broken off
	Timeout  = "timeout"   // no whole answer within Plan.Timeout
	Broken   = "reset"     // the connection was reset
	CutShort = "cut short" // the connection ended within the answer, or before it
	Wrong    = "wrong"     // an answer that is not what Request.Check wants
	Failed   = "failed"    // anything else
)

// wrongError says what is wrong about an answer.
type wrongError struct{ text string }

func (e wrongError) Error() string { return "wrong answer: " + e.text }

func wrong(format string, args ...any) error { return wrongError{fmt.Sprintf(format, args...)} }

// outcome names what became of a request: its status, or the kind of error.
func outcome(status int, err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return strconv.Itoa(status)
	case errors.As(err, new(wrongError)):
		return Wrong
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Broken
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return CutShort
	}
	return Failed
}
