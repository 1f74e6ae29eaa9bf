package cache

import (
	"slices"
	"strings"
	"time"
	"unsafe"

	"ringfence/proxy/wire"
)

// Object is a stored response: complete, and immutable once it is shared.
type Object struct {
	Meta
	// Key is the full key under which the object is stored: the primary key,
	// and what [AppendVariant] adds to it.
	Key string
	// Body is the whole body, as it came from the upstream.
	Body []byte
	// Epoch is the generation of the key in which the fill began. An object of
	// another generation than the present one was invalidated.
	Epoch uint64
	// FillTime is how long it took to fetch or validate the response, from the
	// request to the end of the body; 0 if unknown. See [RefreshesEarly].
	FillTime time.Duration
}

// Size returns how many bytes of memory the object takes: key, head and body.
func (o *Object) Size() int64 {
	n := int(unsafe.Sizeof(*o)) + len(o.Key) + cap(o.Body)
	n += cap(o.Fields)*int(unsafe.Sizeof(wire.Field{})) + cap(o.Vary)*int(unsafe.Sizeof(""))
	n += (cap(o.Groups) + cap(o.Tags)) * int(unsafe.Sizeof(""))
	for _, f := range o.Fields {
		n += len(f.Name) + len(f.Value)
	}
	for _, names := range [...][]string{o.Vary, o.Groups} { // Tags are parts of fields
		for _, name := range names {
			n += len(name)
		}
	}
	return int64(n)
}

// Expired returns o as if it had been fresh up to an age, and no longer if it was
// not fresh for so long: its stale windows (RFC 5861) begin there. o does not
// change.
func Expired(o *Object, age time.Duration) *Object {
	e := *o
	e.Lifetime = min(e.Lifetime, max(age, 0))
	return &e
}

// Conditions returns the field lines that ask the upstream whether a response
// with this Meta still stands (RFC 9111, section 4.3.1), and nil if it has no
// validator. A shared revalidation uses these and never a client's.
func Conditions(m Meta) wire.Fields {
	var f wire.Fields
	if m.ETag != "" {
		f = append(f, wire.Field{Name: "If-None-Match", Value: m.ETag})
	}
	if m.LastModified != "" {
		f = append(f, wire.Field{Name: "If-Modified-Since", Value: m.LastModified})
	}
	return f
}

// Freshen returns what a 304 with these fields makes of o (RFC 9111, section
// 4.3.4): an object with the same key and body and with the fields and the
// freshness that the 304 brings. o does not change. rq is the request on whose
// behalf o was revalidated; requestTime and responseTime are when the
// conditional request was sent and the 304 arrived.
//
// The reason is [None] if the new object may replace o. [ValidatorMismatch]
// comes with a nil object: the 304 speaks of another response, and the whole
// must be fetched. With any other reason the object answers rq alone, and o
// must not be used again: the 304 forbids sharing it, or (with [VaryChanged])
// moves it away from its key.
//
// Content-Length, Content-Encoding and Content-Range stay, since they describe
// the stored bytes, and a weak entity tag does not become a strong one. Lines
// that the 304 makes private are in the new object's Withheld, as with
// [Assess]. Its FillTime is that of the validation.
func Freshen(p *Policy, o *Object, rq Request, fields wire.Fields, requestTime, responseTime time.Time) (*Object, Reason) {
	if !confirms(fields, o.Meta, responseTime) {
		return nil, ValidatorMismatch
	}
	return freshened(p, o, rq, fields, requestTime, responseTime)
}

// freshened returns o with the fields of a later response put in place of its
// own, and whether it may replace o under its key.
func freshened(p *Policy, o *Object, rq Request, fields wire.Fields, requestTime, responseTime time.Time) (*Object, Reason) {
	meta, why := assess(p, rq, o.Status, updated(o.Meta, fields), requestTime, responseTime)
	if why == None && !slices.Equal(meta.Vary, o.Vary) {
		why = VaryChanged
	}
	fill := max(responseTime.Sub(requestTime), 0)
	return &Object{Meta: meta, Key: o.Key, Body: o.Body, Epoch: o.Epoch, FillTime: fill}, why
}

// confirms reports whether a 304 speaks of the stored response (RFC 9111,
// section 4.3.4): by its entity tag, else by its Last-Modified. One without
// validators answers the only question that was asked; one with a strong tag of
// which the stored response knows nothing names another.
//
// Entity tags are compared weakly, which the RFC does not allow for, since
// servers weaken the tag of a response that they compress, but not that of its
// 304. A server that has gone back to an older version answers If-Modified-Since
// with 304 as well; its date gives it away.
func confirms(fields wire.Fields, m Meta, ref time.Time) bool {
	etag, lastModified, modified := validators(fields, ref)
	switch {
	case etag != "" && m.ETag != "":
		return strings.TrimPrefix(etag, "W/") == strings.TrimPrefix(m.ETag, "W/")
	case lastModified != "" && m.LastModified != "":
		return modified.Equal(m.Modified)
	}
	return !strings.HasPrefix(etag, `"`)
}

// updated returns the stored fields with every field of the 304 in place of
// those with its name (RFC 9111, section 3.2). Date counts as sent with the
// 304 even if it was not, because the age now counts from there.
func updated(m Meta, fields wire.Fields) wire.Fields {
	fresh := wire.EndToEnd(make(wire.Fields, 0, len(fields)+len(m.Fields)), fields)
	n := 0
	for _, f := range fresh {
		keepsStored := describesBody(f.Name) ||
			wire.EqualFold(f.Name, "ETag") && strings.HasPrefix(m.ETag, "W/")
		if !keepsStored {
			fresh[n] = f
			n++
		}
	}
	fresh = fresh[:n]
	all := make(wire.Fields, 0, len(m.Fields)+n)
	for _, f := range m.Fields {
		if !fresh.Has(f.Name) && !wire.EqualFold(f.Name, "Date") {
			all = append(all, f)
		}
	}
	return append(all, fresh...)
}

func describesBody(name string) bool {
	return wire.EqualFold(name, "Content-Length") || wire.EqualFold(name, "Content-Encoding") || wire.EqualFold(name, "Content-Range")
}
