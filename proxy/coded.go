package proxy

import (
	"time"

	"ringfence/proxy/cache"
	"ringfence/proxy/wire"
)

// announce returns the fields of a response, with the word that the coding of
// the answers to a request like this depends on what it accepts, where it does.
func (z *Compression) announce(m cache.Meta) wire.Fields {
	if z == nil || !z.eligible(m, max(z.MinSize, 1)) {
		return m.Fields
	}
	return codedFields(m.Fields, cache.Identity)
}

// encode gives an entry its forms in the route's codings; those of from, which
// has the same body, stay. Where they are worth keeping, that is: a form that
// saves too little is left out.
func (j *job) encode(e, from *entry) error {
	z := j.route.Compression
	if !z.eligible(e.Meta, int64(len(e.Body))) {
		return nil
	}
	for _, coding := range z.Codings {
		body, err := from.bodyIn(coding), error(nil)
		if from == nil {
			body, err = j.h.compress(coding, e.Body)
		}
		if err != nil {
			return err
		}
		if body == nil {
			continue
		}
		f, fields := &form{meta: e.Meta, body: body}, codedFields(e.Fields, coding)
		f.meta.Fields = nil
		if e.ETag != "" {
			f.meta.ETag = fields.Get("ETag")
		}
		f.heading = j.heading(fields)
		e.codings, e.coded = append(e.codings, coding), append(e.coded, f)
	}
	return nil
}

// bodyIn returns an entry's body in a coding, or nil where it has none.
func (e *entry) bodyIn(coding cache.Coding) []byte {
	if e == nil {
		return nil
	}
	for i, c := range e.codings {
		if c == coding {
			return e.coded[i].body
		}
	}
	return nil
}

// encoderWait is how long a fill waits for an encoder.
const encoderWait = 5 * time.Second

// compress returns a coded copy of a body, or nil where that saves too little,
// or every encoder is busy for long. The fill's readers do not notice the wait:
// they have the end of the body.
func (h *Handler) compress(coding cache.Coding, body []byte) ([]byte, error) {
	late := time.NewTimer(encoderWait)
	defer late.Stop()
	select {
	case n := <-h.encoders:
		defer func() { h.encoders <- n }()
		return n.encode(coding, body)
	case <-late.C:
		return nil, nil
	}
}
