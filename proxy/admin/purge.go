package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"ringfence/proxy"
)

// purgeRequest is the body of POST /api/purge. It says one thing to purge; tag is
// a list of one.
type purgeRequest struct {
	URL        string   `json:"url"`    // all variants of a URL
	Key        string   `json:"key"`    // all variants of a key, by its hash
	Tag        string   `json:"tag"`    // of Cache-Tag, Surrogate-Key or Cache-Groups
	Tags       []string `json:"tags"`   // several of these
	Prefix     string   `json:"prefix"` // a URL, and all below it
	Everything bool     `json:"everything"`
	Soft       bool     `json:"soft"` // leave it as stale
}

// purgeAnswer says what has become of it: with 200 where every live instance has
// confirmed, and 202 where this one has applied it and others may not have.
type purgeAnswer struct {
	Purged       string   `json:"purged"` // url, key, tag, prefix or everything
	Names        []string `json:"names,omitempty"`
	Soft         bool     `json:"soft"`
	Acknowledged bool     `json:"acknowledged"`
	Instances    int      `json:"instances"`       // of the fleet that are known to live
	Error        string   `json:"error,omitempty"` // why it is not acknowledged
}

func (o Options) purge(w http.ResponseWriter, r *http.Request) {
	p, err := readPurge(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	done, err := o.Purge(p)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	a := purgeAnswer{Purged: p.Kind.String(), Names: p.Names, Soft: p.Soft, Acknowledged: done.Unconfirmed == nil, Instances: done.Instances}
	status := http.StatusOK
	if !a.Acknowledged {
		a.Error, status = done.Unconfirmed.Error(), http.StatusAccepted
	}
	answer(w, status, a)
}

// readPurge reads a purgeRequest.
func readPurge(body io.Reader) (proxy.Purge, error) {
	const want = `want JSON with one of url, key, tag, tags, prefix and everything, such as {"tag": "news", "soft": true}`
	var q purgeRequest
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		return proxy.Purge{}, fmt.Errorf("%s: %w", want, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return proxy.Purge{}, errors.New(want + ", and nothing after it")
	}
	var all []proxy.Purge
	for _, one := range []struct {
		kind proxy.PurgeKind
		name string
	}{{proxy.PurgeURL, q.URL}, {proxy.PurgeKey, q.Key}, {proxy.PurgeTag, q.Tag}, {proxy.PurgePrefix, q.Prefix}} {
		if one.name != "" {
			all = append(all, proxy.Purge{Kind: one.kind, Names: []string{one.name}, Soft: q.Soft})
		}
	}
	if len(q.Tags) > 0 {
		all = append(all, proxy.Purge{Kind: proxy.PurgeTag, Names: q.Tags, Soft: q.Soft})
	}
	if q.Everything {
		all = append(all, proxy.Purge{Kind: proxy.PurgeEverything, Soft: q.Soft})
	}
	if len(all) != 1 {
		return proxy.Purge{}, errors.New(want)
	}
	return all[0], nil
}
