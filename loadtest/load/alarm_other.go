//go:build !linux

package load

import "time"

// alarm sleeps as precisely as the runtime does.
type alarm struct{}

func newAlarm() *alarm { return nil }

func (*alarm) close() {}

func (*alarm) sleep(d time.Duration) { time.Sleep(d) }
