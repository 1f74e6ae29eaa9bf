package proxy

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"ringfence/proxy/wire"
)

// PlaceBy is what a request is placed on a member of its upstream by, where the
// upstream's policy places requests by something. The zero value is the cache
// key.
type PlaceBy struct {
	kind placeKind
	name string // of a field, a cookie or a parameter of the query
}

type placeKind uint8

const (
	placeByKey placeKind = iota
	placeByURI
	placeByPath
	placeByClient
	placeByHeader
	placeByCookie
	placeByQuery
)

// ParsePlaceBy reads key, uri (path and query), path, client (the client's
// address), header:NAME, cookie:NAME or query:NAME.
func ParsePlaceBy(s string) (PlaceBy, error) {
	switch s {
	case "key":
		return PlaceBy{}, nil
	case "uri":
		return PlaceBy{kind: placeByURI}, nil
	case "path":
		return PlaceBy{kind: placeByPath}, nil
	case "client":
		return PlaceBy{kind: placeByClient}, nil
	}
	switch kind, name, _ := strings.Cut(s, ":"); {
	case kind == "header" && wire.IsToken(name):
		return PlaceBy{placeByHeader, name}, nil
	case kind == "cookie" && wire.IsToken(name):
		return PlaceBy{placeByCookie, name}, nil
	case kind == "query" && name != "":
		return PlaceBy{placeByQuery, name}, nil
	}
	return PlaceBy{}, fmt.Errorf("%q places nothing: want key, uri, path, client, header:NAME, cookie:NAME or query:NAME", s)
}

// of returns what a request is placed by, or "" for the hash of its key: a
// request without the field, cookie or parameter has to go somewhere, too, and
// not all of them to one member. client is who asks, as far as that is known. The
// string may share the target and fields.
func (p PlaceBy) of(t target, fields wire.Fields, client netip.Addr) string {
	switch p.kind {
	case placeByURI:
		return t.raw
	case placeByPath:
		return t.path
	case placeByClient:
		if client.IsValid() {
			return client.String()
		}
	case placeByHeader:
		return fields.Get(p.name)
	case placeByCookie:
		return cookie(fields, p.name)
	case placeByQuery:
		return parameter(t.query, p.name)
	}
	return ""
}

// parameter returns the value of the first parameter of a query that is called
// name, decoded if it can be.
func parameter(query, name string) string {
	for rest := strings.TrimPrefix(query, "?"); rest != ""; {
		var param string
		param, rest, _ = strings.Cut(rest, "&")
		k, v, _ := strings.Cut(param, "=")
		if decoded, err := url.QueryUnescape(k); k != name && (err != nil || decoded != name) {
			continue
		}
		if decoded, err := url.QueryUnescape(v); err == nil {
			return decoded
		}
		return v
	}
	return ""
}

// String returns what [ParsePlaceBy] reads.
func (p PlaceBy) String() string {
	return [...]string{"key", "uri", "path", "client", "header:", "cookie:", "query:"}[p.kind] + p.name
}
