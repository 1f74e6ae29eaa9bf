package admin

import (
	"time"

	"ringfence/proxy"
)

// SnapshotState is what is known of the snapshot of the memory tier. Whatever has
// not happened yet is zero.
type SnapshotState struct {
	File string
	// Phase is waiting (for the file, or the fleet), loading, or ready (to write the
	// next one).
	Phase string
	// Failure is why the one that was there was not loaded whole; "" where it was,
	// or there was none.
	Failure string
	// LoadTook is how long the loading took.
	LoadTook time.Duration
	// Written is when the last one was complete, and what it came to.
	Written            time.Time
	WriteTook          time.Duration
	Last               proxy.SnapshotWritten
	Writes, WriteFails uint64
}

// snapshotStatus is the part of /api/status.
type snapshotStatus struct {
	File          string            `json:"file"`
	Phase         string            `json:"phase"` // waiting, loading or ready
	Failure       string            `json:"failure,omitempty"`
	LoadedEntries uint64            `json:"loaded_entries"`
	LoadedBytes   uint64            `json:"loaded_bytes"`
	LoadSeconds   float64           `json:"load_seconds"`
	Skipped       map[string]uint64 `json:"skipped"` // by reason
	Written       *time.Time        `json:"written,omitempty"`
	WriteSeconds  float64           `json:"write_seconds"`
	Entries       int64             `json:"entries"`
	Bytes         int64             `json:"bytes"`
	Writes        uint64            `json:"writes"`
	WriteFailures uint64            `json:"write_failures"`
}

// snapshotOf returns nil where there is no snapshot.
func snapshotOf(st State) *snapshotStatus {
	s, l := st.Snapshot, st.Proxy.Loaded
	if s == nil {
		return nil
	}
	out := &snapshotStatus{
		File: s.File, Phase: s.Phase, Failure: s.Failure, LoadedEntries: l.Entries, LoadedBytes: l.Bytes,
		LoadSeconds: s.LoadTook.Seconds(), Skipped: make(map[string]uint64), WriteSeconds: s.WriteTook.Seconds(),
		Entries: s.Last.Entries, Bytes: s.Last.Bytes, Writes: s.Writes, WriteFailures: s.WriteFails,
	}
	if !s.Written.IsZero() {
		written := s.Written.UTC()
		out.Written = &written
	}
	for why, n := range l.Skipped {
		out.Skipped[proxy.Skip(why).String()] = n
	}
	return out
}

func (m metrics) snapshot(st State) {
	s, l := st.Snapshot, st.Proxy.Loaded
	if s == nil {
		return
	}
	if !s.Written.IsZero() {
		m.gauge("snapshot_last_write_timestamp_seconds", "When the last snapshot of the memory tier was complete.", float64(s.Written.UnixMilli())/1000)
	}
	m.gauge("snapshot_last_write_duration_seconds", "How long it took to write.", s.WriteTook.Seconds())
	m.gauge("snapshot_last_write_bytes", "Its size.", float64(s.Last.Bytes))
	m.gauge("snapshot_last_write_entries", "The objects in it.", float64(s.Last.Entries))
	const help = "Snapshots of the memory tier, by whether they could be written."
	m.counter("snapshot_writes_total", help, s.Writes, label{"result", "ok"})
	m.counter("snapshot_writes_total", help, s.WriteFails, label{"result", "failed"})
	m.counter("snapshot_loaded_entries_total", "Objects stored again from a snapshot.", l.Entries)
	m.counter("snapshot_loaded_bytes_total", "Bytes of their bodies.", l.Bytes)
	m.gauge("snapshot_load_duration_seconds", "How long the loading took.", s.LoadTook.Seconds())
	for why, n := range l.Skipped {
		m.counter("snapshot_skipped_entries_total", "Objects of a snapshot that were not stored again, by why.", n, label{"reason", proxy.Skip(why).String()})
	}
}
