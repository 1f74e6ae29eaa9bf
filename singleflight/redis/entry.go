package redis

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cespare/xxhash/v2"
)

// formatVersion is part of every key: instances that write another format do
// not see each other's logs.
const formatVersion = "1"

// kind is what an entry of a log says. The log of one flight is
//
//	open  head  chunk*  end     a whole object
//	open  [head chunk*]  stop   what else it came to
//
// An open log that has no terminal entry is a lease: it lives as long as its
// holder renews it.
type kind byte

const (
	kindOpen  kind = 'o' // first entry, its field is the holder's token instead
	kindHead  kind = 'h'
	kindChunk kind = 'c'
	kindEnd   kind = 'e' // terminal: the body is complete
	kindStop  kind = 's' // terminal: there is no body, or no more of it
)

// stop is why a log ended without a whole body.
type stop byte

const (
	stopFailed   stop = 'f' // no verdict; another may try, see maxAttempts
	stopFinal    stop = 'F' // no verdict, and nobody shall try for a while
	stopPrivate  stop = 'p' // the response is one client's: go alone
	stopAborted  stop = 'a' // the body was cut short
	stopTooLarge stop = 'l' // the body is not for the engine: fetch it yourself
)

// opening is what the first entry says.
type opening struct {
	attempt int      // how many fills of the key, this one included, have run in a row
	born    position // how far the holder had applied invalidations
}

// heading is what the second entry says.
type heading struct {
	after    time.Duration // from the lease to the head, by the holder's clock
	keep     time.Duration // how long the whole object will be kept; 0: for those who wait
	length   int64         // of the body, -1: unknown
	identity uint64
	variant  uint64 // see variantTag
	tooLarge bool   // there is no body in this log, nor will there be
	bytes    []byte
}

// ending is what the last entry of a whole object says.
type ending struct {
	length int64
	sum    uint64 // of the body
}

// variantTag stands for a variant in a heading; 0 for none. Where two variants
// of a name agree in it, the codec tells them apart.
func variantTag(variant string) uint64 {
	if variant == "" {
		return 0
	}
	return max(xxhash.Sum64String(variant), 1)
}

var errBadValue = errors.New("redis: an entry is damaged or foreign")

// seal puts a checksum before a payload, of the key too, so that a value under
// another key's name is no value. The result is a string that shares nothing.
func seal(key string, k kind, payload []byte) string {
	b := make([]byte, 8, 8+len(payload))
	binary.LittleEndian.PutUint64(b, checksum(key, k, payload))
	return string(append(b, payload...))
}

// unseal gives the payload of a value whose checksum holds.
func unseal(key string, k kind, value string) ([]byte, error) {
	if len(value) < 8 {
		return nil, errBadValue
	}
	b := []byte(value)
	if binary.LittleEndian.Uint64(b) != checksum(key, k, b[8:]) {
		return nil, errBadValue
	}
	return b[8:], nil
}

func checksum(key string, k kind, payload []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(key) // a digest's writes do not fail
	_, _ = d.Write([]byte{0, byte(k)})
	_, _ = d.Write(payload)
	return d.Sum64()
}

func (o opening) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(o.attempt))
	b = binary.LittleEndian.AppendUint64(b, o.born.line)
	return binary.AppendUvarint(b, o.born.at)
}

func decodeOpening(b []byte) (opening, error) {
	d := decoder{b: b}
	o := opening{attempt: int(d.uvarint(1 << 20)), born: position{line: d.fixed(), at: d.uvarint(1 << 62)}}
	return o, d.end()
}

func (h heading) encode() []byte {
	b := make([]byte, 0, 48+len(h.bytes))
	b = binary.LittleEndian.AppendUint64(b, h.variant) // first: the engine compares it
	b = append(b, boolByte(h.tooLarge))
	b = binary.AppendUvarint(b, uint64(max(h.after, 0)/time.Millisecond))
	b = binary.AppendUvarint(b, uint64(max(h.keep, 0)/time.Millisecond))
	b = binary.AppendUvarint(b, uint64(h.length+1))
	b = binary.LittleEndian.AppendUint64(b, h.identity)
	return append(b, h.bytes...)
}

func decodeHeading(b []byte) (heading, error) {
	d := decoder{b: b}
	h := heading{
		variant:  d.fixed(),
		tooLarge: d.byte(1) == 1,
		after:    time.Duration(d.uvarint(maxMillis)) * time.Millisecond,
		keep:     time.Duration(d.uvarint(maxMillis)) * time.Millisecond,
		length:   int64(d.uvarint(1<<62)) - 1,
		identity: d.fixed(),
	}
	h.bytes, d.b = d.b, nil
	return h, d.end()
}

func (e ending) encode() []byte {
	return binary.LittleEndian.AppendUint64(binary.AppendUvarint(nil, uint64(e.length)), e.sum)
}

func decodeEnding(b []byte) (ending, error) {
	d := decoder{b: b}
	e := ending{length: int64(d.uvarint(1 << 62)), sum: d.fixed()}
	return e, d.end()
}

func decodeStop(b []byte) (stop, error) {
	if len(b) != 1 {
		return 0, errBadValue
	}
	switch s := stop(b[0]); s {
	case stopFailed, stopFinal, stopPrivate, stopAborted, stopTooLarge:
		return s, nil
	}
	return 0, errBadValue
}

// maxMillis keeps durations far from overflowing.
const maxMillis = 1 << 42

// decoder takes values off b; after the first fault it gives zeroes.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) fixed() uint64 {
	if len(d.b) < 8 {
		d.bad, d.b = true, nil
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}

func (d *decoder) byte(limit byte) byte {
	if len(d.b) == 0 || d.b[0] > limit {
		d.bad, d.b = true, nil
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) end() error {
	if d.bad || len(d.b) > 0 {
		return errBadValue
	}
	return nil
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
