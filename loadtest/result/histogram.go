package result

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the longest duration that a Histogram tells from longer ones.
const longest = time.Hour

// Histogram counts durations, from a microsecond to an hour, to three digits. The
// zero value is empty. Copies share what is counted.
type Histogram struct{ h *hdrhistogram.Histogram }

func (x *Histogram) made() *hdrhistogram.Histogram {
	if x.h == nil {
		x.h = hdrhistogram.New(1, longest.Microseconds(), 3)
	}
	return x.h
}

// Add counts a duration.
func (x *Histogram) Add(d time.Duration) {
	_ = x.made().RecordValue(min(max(d, time.Microsecond), longest).Microseconds()) // it is within its bounds
}

// Merge adds what another one counted.
func (x *Histogram) Merge(other Histogram) {
	if other.Count() > 0 {
		x.made().Merge(other.h)
	}
}

// Reset forgets all.
func (x *Histogram) Reset() {
	if x.h != nil {
		x.h.Reset()
	}
}

// Count is how many durations there are.
func (x Histogram) Count() int64 {
	if x.h == nil {
		return 0
	}
	return x.h.TotalCount()
}

// Percentile is what p percent (0 to 100) of the durations do not pass; 0 where there
// is none.
func (x Histogram) Percentile(p float64) time.Duration {
	if x.h == nil {
		return 0
	}
	return time.Duration(x.h.ValueAtPercentile(p)) * time.Microsecond
}

// Mean is 0 where there is none.
func (x Histogram) Mean() time.Duration {
	if x.Count() == 0 {
		return 0
	}
	return time.Duration(x.h.Mean() * float64(time.Microsecond))
}

// MarshalJSON writes the compressed form that HdrHistogram's tools read, in base64, of
// microseconds; null where nothing was counted.
func (x Histogram) MarshalJSON() ([]byte, error) {
	if x.Count() == 0 {
		return []byte("null"), nil
	}
	text, err := x.h.EncodeV2()
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(text))
}

// UnmarshalJSON reads it.
func (x *Histogram) UnmarshalJSON(from []byte) error {
	var text *string
	if err := json.Unmarshal(from, &text); err != nil {
		return err
	}
	if text == nil {
		x.h = nil
		return nil
	}
	h, err := hdrhistogram.Decode([]byte(*text))
	if err != nil {
		return fmt.Errorf("histogram: %w", err)
	}
	x.h = h
	return nil
}
