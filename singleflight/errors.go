package singleflight

import (
	"errors"
	"fmt"
	"io"
)

var (
	// ErrTooManyFlights is returned by Join when Options.MaxFlights fills are
	// in progress.
	ErrTooManyFlights = errors.New("singleflight: too many flights")
	// ErrTooManyReaders is returned by Join when the key's flight has
	// Options.MaxReaders readers.
	ErrTooManyReaders = errors.New("singleflight: too many readers of one flight")
	// ErrClosed is returned by Join when it would start a flight in a closed
	// group, and is the cause given to fills that a Close cancels.
	ErrClosed = errors.New("singleflight: group closed")
	// ErrLeadTime ends a flight that had no verdict within Options.MaxLead.
	ErrLeadTime = errors.New("singleflight: no verdict within the lead time")
	// ErrNoVerdict ends a flight whose fill returned nil without calling Head.
	ErrNoVerdict = errors.New("singleflight: fill returned without a verdict")
	// ErrAbandoned ends a fill that nobody reads and nobody would keep.
	ErrAbandoned = errors.New("singleflight: abandoned by its readers")
	// ErrTooSlow is given to a reader that was cut off because it held the
	// fill, and so the other readers, up; see Options.Stall.
	ErrTooSlow = errors.New("singleflight: reader too slow")
	// ErrSilent is given to a reader that had no new bytes for
	// Options.ReadWait.
	ErrSilent = errors.New("singleflight: no bytes within the read wait")
	// ErrLength says that the body is not of the length given to Grow. A body
	// that is too short is an io.ErrUnexpectedEOF as well.
	ErrLength = errors.New("singleflight: body not of the promised length")
	// ErrOrder is returned for a call out of order: Head twice, bytes before
	// Head or after End, a Writer after its fill has returned, a Reader after
	// its Close or after it was released.
	ErrOrder = errors.New("singleflight: call out of order")
	// ErrRelease, returned by a fill before the verdict, releases
	// every reader at once, the leader's too: each goes alone. It is no
	// failure: nobody is elected and nothing is remembered.
	ErrRelease = errors.New("singleflight: released, go alone")
)

var (
	errShort = fmt.Errorf("%w: %w", ErrLength, io.ErrUnexpectedEOF)
	errGone  = errors.New("singleflight: flight has left the table")
	// errExited is final: the goroutine that would run another fill is ending.
	errExited = Final(errors.New("singleflight: fill ended its goroutine"))
)

// PanicError is the failure of a fill that panicked.
type PanicError struct {
	Value any    // what was passed to panic
	Stack []byte // the fill's stack, as debug.Stack gives it
}

// Error gives the panic's value without the stack.
func (p *PanicError) Error() string { return fmt.Sprintf("singleflight: fill panicked: %v", p.Value) }

// Unwrap gives the panic's value if that is an error, else nil.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Final marks a fill's error as final: another reader's fill would fail the
// same way, so none is elected. The result wraps err.
func Final(err error) error { return finalError{err} }

type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// IsFinal says whether err, or one that it wraps, was marked by Final.
func IsFinal(err error) bool {
	var f finalError
	return errors.As(err, &f)
}
