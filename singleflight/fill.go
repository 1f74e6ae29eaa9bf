package singleflight

import "context"

// Fill produces what one key's readers wait for. It runs in the flight's own
// goroutine, apart from whoever joined: it may begin or go on after its reader
// was closed, so it must own all it uses.
//
// It calls w.Head once, then perhaps w.Grow, then w.ReadFrom or w.Write, and
// returns nil: the body is complete. It may call w.End earlier to say so and
// go on to store the object, the flight being joinable until it returns. An
// error before Head is a failure, see Options.Elections; one after it aborts
// the body; one after End means nothing to the readers, so handle it there.
//
// ctx ends when the lead time is over before a verdict, when the flight is
// abandoned, and when the group is closed hard; context.Cause tells which. A
// fill must heed it, and must bound the silence of its source by itself.
type Fill[H any] func(ctx context.Context, w *Writer[H]) error
