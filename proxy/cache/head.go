package cache

import (
	"strconv"
	"strings"
	"time"

	"ringfence/proxy/wire"
)

// HeadVerdict is what the response to a HEAD says of the stored response to a
// GET. The set is closed.
type HeadVerdict uint8

const (
	// HeadSilent: nothing. The stored response stays as it is.
	HeadSilent HeadVerdict = iota
	// HeadFreshens: it still stands, with newer fields.
	HeadFreshens
	// HeadInvalidates: it stands no longer.
	HeadInvalidates
)

// UpdateByHead says what a response to the HEAD rq makes of o, which a GET
// would have selected (RFC 9111, section 4.3.5). The object is nil unless the
// verdict is [HeadFreshens]; then it is to replace o, like one of [Freshen]. o
// does not change. requestTime and responseTime are as with [Assess].
//
// Only a 200 says anything. It freshens a stored 200 with which the entity tag,
// the Last-Modified and the Content-Length agree, as far as they were sent, and
// invalidates any other. One that comes in another content coding than o, or
// that may not be stored because of who asked, says nothing where it
// contradicts nothing.
func UpdateByHead(p *Policy, o *Object, rq Request, status int, fields wire.Fields, requestTime, responseTime time.Time) (*Object, HeadVerdict) {
	switch {
	case rq.traits&isHead == 0 || status != 200:
		return nil, HeadSilent
	case o.Status != 200 || !agrees(fields, &o.Meta, responseTime):
		return nil, HeadInvalidates
	case !sameCoding(fields, o.Fields):
		return nil, HeadSilent
	case !sameLength(fields, len(o.Body)):
		return nil, HeadInvalidates
	}
	fresh, why := freshened(p, o, rq, fields, requestTime, responseTime)
	switch why {
	case None:
		return fresh, HeadFreshens
	case RequestNoStore, Authorization, SetCookie:
		return nil, HeadSilent
	}
	return nil, HeadInvalidates
}

// agrees reports whether the validators that were sent are those of m. Entity
// tags are compared weakly, as by [Freshen].
func agrees(fields wire.Fields, m *Meta, ref time.Time) bool {
	etag, lastModified, modified := validators(fields, ref)
	return (etag == "" || strings.TrimPrefix(etag, "W/") == strings.TrimPrefix(m.ETag, "W/")) &&
		(lastModified == "" || modified.Equal(m.Modified))
}

func sameCoding(a, b wire.Fields) bool {
	one, _ := a.Joined("Content-Encoding")
	other, _ := b.Joined("Content-Encoding")
	return wire.EqualFold(one, other)
}

func sameLength(fields wire.Fields, size int) bool {
	i := fields.Index("Content-Length", 0)
	if i < 0 {
		return true
	}
	n, err := strconv.ParseUint(fields[i].Value, 10, 63)
	return err == nil && n == uint64(size)
}
