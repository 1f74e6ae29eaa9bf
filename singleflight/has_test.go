package singleflight

import (
	"context"
	"testing"
)

func TestHas(t *testing.T) {
	g := New(Options[int]{})
	defer g.Close(t.Context())
	hold := make(chan struct{})
	r, err := g.Join("a", func(_ context.Context, w *Writer[int]) error {
		<-hold
		if err := w.Head(1, Store); err != nil {
			return err
		}
		return w.End()
	})
	if err != nil {
		t.Fatal(err)
	}
	if !g.Has("a") || g.Has("b") {
		t.Errorf("during the flight of a: %v, %v", g.Has("a"), g.Has("b"))
	}
	leads := g.Stats().Leads
	close(hold)
	if _, _, err := r.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	r.Close()
	if err := g.Close(t.Context()); err != nil || g.Has("a") || leads != 1 {
		t.Errorf("after it: %v, %v, %d", g.Has("a"), err, leads)
	}
}
