package edge

import (
	"time"

	"ringfence/proxy/wire"
)

// NewRequest returns the request that a client would make with this head, judged
// as one that comes in by a listener with these limits. It has no body, whatever
// its fields announce. It keeps fields, Host among them.
func NewRequest(method, target string, fields wire.Fields, lim Limits, now time.Time) *Request {
	r := &Request{Time: now}
	r.RequestHead, r.Refusal = wire.JudgeRequestHead(method, target, fields, wire.RequestLimits{
		MaxTarget: lim.MaxTarget, MaxFields: lim.MaxFields,
	})
	if r.Refusal == nil {
		r.Refusal = judgeSize(r, &lim)
	}
	return r
}

// judgeSize looks for what is larger than it may be.
func judgeSize(r *Request, lim *Limits) *wire.Refusal {
	switch {
	case headSize(r) > lim.MaxHead:
		return &wire.Refusal{Status: 431, Why: "the request head is too large"}
	case lim.MaxBody > 0 && r.Length > lim.MaxBody:
		return &wire.Refusal{Status: 413, Why: ErrBodyTooLarge.Error()}
	}
	return nil
}
