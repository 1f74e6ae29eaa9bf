package singleflight

import "time"

// Options configure a Group. The zero value of each field stands for its
// default.
type Options[H any] struct {
	// MaxFlights is how many fills may be in progress; default 16384. Past it
	// Join returns ErrTooManyFlights.
	MaxFlights int
	// MaxReaders is how many readers one flight may have; default 16384. Past
	// it Join returns ErrTooManyReaders.
	MaxReaders int
	// MaxBuffered is how many bytes the logs of all flights may hold before
	// none is kept whole any more, in bytes; default 256 MiB. Past it flights
	// pass their bytes on through 64 KiB each.
	MaxBuffered int64
	// Keep is the longest body that is kept whole, in bytes; default 8 MiB.
	Keep int64
	// Window is how much of a longer or a private body is held, in bytes;
	// default 1 MiB, never below 64 KiB. A private body's is smaller at first, and
	// grows to it as its reader takes bytes, to an eighth of them.
	Window int64
	// MaxLead is how long a flight may go without a verdict, all elections
	// included; default 30 s.
	MaxLead time.Duration
	// ReadWait is how long a reader waits for the next bytes, and how long a
	// fill waits for readers none of which moves; default 60 s.
	ReadWait time.Duration
	// Stall is how long a reader may keep the fill waiting while it takes less
	// than a Window, if another reader has run out of bytes; default 5 s. It
	// counts only while the fill waits, and is looked at once per Stall.
	Stall time.Duration
	// Elections is how many further readers' fills are tried when one fails
	// before its verdict; default 1, at most 2, none if negative.
	Elections int
	// FailureMemory is how long a failure answers those who join next;
	// default 100 ms, not at all if negative.
	FailureMemory time.Duration
	// MaxFailures is how many failures are remembered, the oldest being
	// forgotten first; default 4096, rounded up to a multiple of 64.
	MaxFailures int
	// OnPanic is told of each recovered panic, in the flight's goroutine; nil:
	// panics are counted and given to the readers only.
	OnPanic func(key string, p *PanicError)
}

const maxElections = 2

func (o Options[H]) withDefaults() Options[H] {
	return Options[H]{
		MaxFlights:    orDefault(o.MaxFlights, 16384),
		MaxReaders:    orDefault(o.MaxReaders, 16384),
		MaxBuffered:   orDefault(o.MaxBuffered, 256<<20),
		Keep:          orDefault(o.Keep, 8<<20),
		Window:        max(orDefault(o.Window, 1<<20), minWindow),
		MaxLead:       orDefault(o.MaxLead, 30*time.Second),
		ReadWait:      orDefault(o.ReadWait, time.Minute),
		Stall:         orDefault(o.Stall, 5*time.Second),
		Elections:     min(orNone(o.Elections, 1), maxElections),
		FailureMemory: orNone(o.FailureMemory, 100*time.Millisecond),
		MaxFailures:   orDefault(o.MaxFailures, 4096),
		OnPanic:       o.OnPanic,
	}
}

type integer interface {
	~int | ~int64
}

// orDefault is for limits that cannot be turned off.
func orDefault[T integer](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// orNone is for what a negative value turns off.
func orNone[T integer](v, def T) T {
	if v == 0 {
		return def
	}
	return max(v, 0)
}
