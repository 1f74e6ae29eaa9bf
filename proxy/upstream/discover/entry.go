package discover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// MaxServers is the greatest number of servers of one set; those beyond it, in
// the set's order, are left out, and OnError is told.
const MaxServers = 4096

// maxWeight is the greatest weight of a server, the same as a ring's.
const maxWeight = 65535

// Entry is what is configured: one server, or a name that stands for several.
// Exactly one of Address and SRV is set. Entries are compared with ==.
type Entry struct {
	// Address is IP:port or unix:/path, which is one server; or host:port, and
	// then every address of the host, IPv4 and IPv6, is a server.
	Address string
	// SRV is the whole name of a service (RFC 2782), such as
	// _http._tcp.example.com. The servers are all addresses of the targets of
	// its most preferred priority, and, as backups, of the next one; targets
	// of further priorities are not used, nor, where Backup is set, those of
	// the second.
	SRV string
	// ID is what a single server is known by, so that its keys stay where its
	// address changes; the several servers of a name are ID/address. Where it
	// is "" or the same as Address each server is known by its address.
	ID string
	// Weight is the weight of each server that the entry yields, 0 to 65535; 0
	// drains them. The weights of an SRV name's records, 0 counting as 1,
	// multiply it, unless all of one priority are equal: then they say nothing,
	// and some name servers derive them from the number of records, so that
	// following them would change every weight with each new record.
	Weight int
	// Backup says that its servers are backups.
	Backup bool
	// MaxRequests bounds the requests in flight on each of its servers; 0: no
	// bound.
	MaxRequests int
}

// Server is one member of the set.
type Server struct {
	// ID is its identity, unique in the set; see Entry.ID. A server that
	// several entries yield is as the first of them says.
	ID string
	// Address is IP:port or unix:/path.
	Address string
	// Host is the name that Address was found under, without a dot at its end;
	// "" where Address is the entry's own.
	Host string
	// Weight is its share relative to the others, 0 to 65535; 0: drained.
	Weight int
	// Backup says that it is for when the others are not available.
	Backup bool
	// MaxRequests bounds the requests in flight on it; 0: no bound.
	MaxRequests int
}

// query is what is looked up for an entry: the addresses of a host, or a
// service. The zero query is none.
type query struct {
	service bool
	name    string
}

// query returns what has to be looked up for e, if anything.
func (e Entry) query() query {
	if e.SRV != "" {
		return query{service: true, name: e.SRV}
	}
	if strings.HasPrefix(e.Address, unixPrefix) {
		return query{}
	}
	if _, err := netip.ParseAddrPort(e.Address); err == nil {
		return query{}
	}
	host, _, _ := net.SplitHostPort(e.Address) // validate has seen to it
	return query{name: host}
}

const unixPrefix = "unix:"

// validate names the first entry at fault, counting from 1.
func validate(entries []Entry) error {
	for i, e := range entries {
		if err := e.validate(); err != nil {
			return fmt.Errorf("server %d: %w", i+1, err)
		}
	}
	return nil
}

func (e Entry) validate() error {
	switch {
	case (e.Address == "") == (e.SRV == ""):
		return fmt.Errorf("want one of an address and an SRV name, got %q and %q", e.Address, e.SRV)
	case e.Weight < 0 || e.Weight > maxWeight:
		return fmt.Errorf("%s%s: weight %d is not in 0..%d", e.Address, e.SRV, e.Weight, maxWeight)
	case e.MaxRequests < 0:
		return fmt.Errorf("%s%s: bound of %d requests is negative", e.Address, e.SRV, e.MaxRequests)
	case e.SRV != "":
		return nil
	}
	if path, ok := strings.CutPrefix(e.Address, unixPrefix); ok {
		if path == "" {
			return errors.New("unix: has no path")
		}
		return nil
	}
	host, port, err := net.SplitHostPort(e.Address)
	n, notPort := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || notPort != nil || n == 0 {
		return fmt.Errorf("address %q is neither host:port nor unix:/path", e.Address)
	}
	return nil
}
