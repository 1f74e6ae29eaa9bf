package singleflight

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Flights keep what they began with; those that begin later go by the new options.
func TestReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Options[string]{MaxReaders: 1, MaxLead: time.Hour, MaxFlights: 1})
		hang := func(ctx context.Context, _ *Writer[string]) error { <-ctx.Done(); return context.Cause(ctx) }
		old, err := g.Join("old", hang)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Join("new", hang); !errors.Is(err, ErrTooManyFlights) {
			t.Errorf("a second flight: %v", err)
		}
		g.Reconfigure(Options[string]{MaxReaders: 2, MaxLead: time.Second, MaxFlights: 2})
		if _, err := g.Join("old", hang); !errors.Is(err, ErrTooManyReaders) {
			t.Errorf("the flight under way: %v", err)
		}
		began := time.Now()
		for range 2 {
			r, err := g.Join("new", hang)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
		}
		follower, err := g.Join("new", hang)
		if !errors.Is(err, ErrTooManyReaders) {
			t.Fatalf("%v, %v", follower, err)
		}
		time.Sleep(2 * time.Second)
		if n := g.Stats().Flights; n != 1 || time.Since(began) != 2*time.Second {
			t.Errorf("%d flights after the new one's lead time", n)
		}
		old.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = g.Close(ctx)
	})
}
