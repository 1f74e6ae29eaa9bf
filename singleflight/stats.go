package singleflight

import "sync/atomic"

// Stats are plain numbers: first what is so now, then what was counted since
// the group was made. They are read one after another, so sums need not
// agree exactly while flights go on.
type Stats struct {
	Flights  int64 // fills in progress
	Readers  int64 // readers joined and neither closed, released nor cut off
	Waiting  int64 // those of them without a verdict
	Buffered int64 // bytes of buffer the logs hold

	Leads          int64 // flights started
	Follows        int64 // readers that joined a flight under way
	Released       int64 // readers told to go alone
	Failed         int64 // flights that failed before a verdict
	Elections      int64 // further fills tried after a failure
	LeadTimeouts   int64 // flights that failed because MaxLead was over
	Aborted        int64 // flights cut short after the verdict, abandoned ones too
	Abandoned      int64 // flights cancelled because nobody read them
	Panics         int64 // fills that panicked
	Passing        int64 // shareable flights too long to be kept whole
	TooSlow        int64 // readers cut off
	Silent         int64 // reads that ended after ReadWait
	RefusedFlights int64 // joins refused by MaxFlights
	RefusedReaders int64 // joins refused by MaxReaders
	Remembered     int64 // joins answered with a failure of a moment ago
}

// counters is one shard's share of Stats, so that cores do not write to one
// common line.
type counters struct {
	readers, waiting atomic.Int64

	leads, follows, released, failed, elections, leadTimeouts atomic.Int64
	aborted, abandoned, panics, passing, tooSlow, silent      atomic.Int64
	refusedFlights, refusedReaders, remembered                atomic.Int64
}

func (s *Stats) add(c *counters) {
	s.Readers += c.readers.Load()
	s.Waiting += c.waiting.Load()
	s.Leads += c.leads.Load()
	s.Follows += c.follows.Load()
	s.Released += c.released.Load()
	s.Failed += c.failed.Load()
	s.Elections += c.elections.Load()
	s.LeadTimeouts += c.leadTimeouts.Load()
	s.Aborted += c.aborted.Load()
	s.Abandoned += c.abandoned.Load()
	s.Panics += c.panics.Load()
	s.Passing += c.passing.Load()
	s.TooSlow += c.tooSlow.Load()
	s.Silent += c.silent.Load()
	s.RefusedFlights += c.refusedFlights.Load()
	s.RefusedReaders += c.refusedReaders.Load()
	s.Remembered += c.remembered.Load()
}
