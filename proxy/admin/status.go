package admin

import (
	"time"

	"ringfence/proxy"
	"ringfence/proxy/cache"
	"ringfence/proxy/upstream"
)

// status is /api/status. Its JSON form is the interface: fields may be added,
// not changed.
type status struct {
	Version     string           `json:"version"`
	PID         int              `json:"pid"`
	Unready     string           `json:"unready,omitempty"` // why no requests are taken
	ReadOnly    bool             `json:"read_only"`
	Admin       adminStatus      `json:"admin"`
	ConfigHash  string           `json:"config_hash,omitempty"` // of the file's text
	Connections int              `json:"connections"`
	Requests    requestStatus    `json:"requests"`
	Flights     flightStatus     `json:"flights"`
	Memory      memoryStatus     `json:"memory"`
	Index       indexStatus      `json:"index"`
	Snapshot    *snapshotStatus  `json:"snapshot,omitempty"` // nil without one
	Tunnels     tunnelStatus     `json:"tunnels"`
	AccessLog   *accessLogStatus `json:"access_log,omitempty"` // nil without one
	Observed    *observedStatus  `json:"observed,omitempty"`   // nil while no route ever observed
	Fleet       *fleetStatus     `json:"fleet,omitempty"`      // nil for an instance by itself
	Upstreams   []upstreamStatus `json:"upstreams"`
}

type adminStatus struct {
	Connections int64       `json:"connections"`
	Refused     uint64      `json:"refused"` // connections beyond the most
	Events      eventStatus `json:"events"`
}

type eventStatus struct {
	Subscribers int    `json:"subscribers"`
	Dropped     uint64 `json:"dropped"` // that were too slow
	Refused     uint64 `json:"refused"` // beyond the most
}

type fleetStatus struct {
	Leases    int64        `json:"leases"`    // held, or being asked for
	Following int64        `json:"following"` // fills of other instances
	Taken     int64        `json:"taken"`
	Lost      int64        `json:"lost"`
	Fallbacks int64        `json:"fallbacks"` // fills that went on without the engine
	Nodes     []nodeStatus `json:"nodes"`
}

type nodeStatus struct {
	Address string `json:"address"`
	Up      bool   `json:"up"`
	Cause   string `json:"cause,omitempty"` // why it is out of use
}

type requestStatus struct {
	InFlight  int64             `json:"in_flight"`
	Hits      uint64            `json:"hits"`
	Forwarded map[string]uint64 `json:"forwarded"` // by reason
	Unstored  map[string]uint64 `json:"unstored"`  // by reason
	Stored    uint64            `json:"stored"`
	Collapsed uint64            `json:"collapsed"`
	Stale     uint64            `json:"stale"`    // from the store in place of a failing upstream
	Renewals  uint64            `json:"renewals"` // fills in the background
	Refused   uint64            `json:"refused"`
}

type flightStatus struct {
	InProgress int64 `json:"in_progress"`
	Waiting    int64 `json:"waiting"`
	Buffered   int64 `json:"buffered_bytes"`
}

type memoryStatus struct {
	Bytes    int64 `json:"bytes"`
	MaxBytes int64 `json:"max_bytes"`
	Entries  int64 `json:"entries"`
}

type indexStatus struct {
	Entries int64 `json:"entries"`
	Limit   int64 `json:"limit"`
}

type tunnelStatus struct {
	Open        int               `json:"open"`
	Total       uint64            `json:"total"`
	Refused     uint64            `json:"refused"`
	Ended       map[string]uint64 `json:"ended"` // by why
	FromClients uint64            `json:"bytes_from_clients"`
	FromServers uint64            `json:"bytes_from_servers"`
}

type accessLogStatus struct {
	Lines   uint64 `json:"lines"`
	Dropped uint64 `json:"dropped"`
}

type upstreamStatus struct {
	Name      string         `json:"name"`
	Panicking bool           `json:"panicking"`       // health is disregarded, since too few servers are fit
	Limit     int            `json:"limit,omitempty"` // of adaptive concurrency
	Servers   []serverStatus `json:"servers"`
}

type serverStatus struct {
	ID          string            `json:"id"`
	Address     string            `json:"address"`
	Weight      int               `json:"weight"`
	Backup      bool              `json:"backup,omitempty"`
	Standing    string            `json:"standing"` // live, unchecked, ejected, down or drained
	Reason      string            `json:"reason"`
	Since       time.Time         `json:"since"`
	Until       *time.Time        `json:"until,omitempty"`      // end of an ejection
	Ejections   int               `json:"ejections,omitempty"`  // that are not forgotten
	Share       float64           `json:"share"`                // part of its weight that it gets requests for
	Ring        float64           `json:"ring"`                 // part of the keys that are its own
	LastCheck   string            `json:"last_check,omitempty"` // what it came to
	InFlight    int               `json:"in_flight"`
	Queued      int               `json:"queued"`
	Connections int               `json:"connections"`
	Idle        int               `json:"idle_connections"`
	Requests    uint64            `json:"requests"`
	Failures    map[string]uint64 `json:"failures"` // by kind
}

// statusNow is the status of a state.
func (s *Server) statusNow(st State) status {
	out := statusOf(st)
	out.Version, out.Unready, out.ReadOnly = s.o.Version, s.o.Unready(), s.o.Access.ReadOnly
	out.PID = s.o.PID
	out.Admin = adminStatus{Connections: s.connections.Load(), Refused: s.refused.Load(), Events: s.hub.stats()}
	return out
}

func statusOf(st State) status {
	p := st.Proxy
	out := status{
		ConfigHash:  st.ConfigHash,
		Connections: st.Clients.Open,
		Upstreams:   []upstreamStatus{},
		Requests: requestStatus{
			InFlight: p.Requests.InFlight, Hits: p.Requests.Hits, Stored: p.Requests.Stored,
			Collapsed: p.Requests.Collapsed, Refused: p.Requests.Refused,
			Stale: p.Requests.Stale, Renewals: p.Requests.Renewals,
			Forwarded: byName(p.Requests.Forwarded), Unstored: byName(p.Requests.Unstored),
		},
		Flights:  flightStatus{InProgress: p.Flights.Flights, Waiting: p.Flights.Waiting, Buffered: p.Flights.Buffered},
		Memory:   memoryStatus{Bytes: p.Memory.Bytes, MaxBytes: p.Memory.MaxBytes, Entries: p.Memory.Entries},
		Index:    indexStatus{Entries: p.Index.Entries, Limit: p.Index.Limit},
		Snapshot: snapshotOf(st),
		Tunnels: tunnelStatus{
			Open: p.Tunnels.Open, Total: p.Tunnels.Total, Refused: p.Tunnels.Refused, Ended: make(map[string]uint64),
			FromClients: p.Tunnels.FromClients, FromServers: p.Tunnels.FromServers,
		},
	}
	if l := p.AccessLog; l != nil {
		out.AccessLog = &accessLogStatus{Lines: l.Lines, Dropped: l.Dropped}
	}
	if o := p.Observed; o != nil {
		out.Observed = observedOf(o)
	}
	if f := p.Fleet; f != nil {
		out.Fleet = &fleetStatus{Leases: f.Leading, Following: f.Following, Taken: f.Taken, Lost: f.Lost, Fallbacks: f.Fallbacks, Nodes: []nodeStatus{}}
		for _, n := range f.Nodes {
			node := nodeStatus{Address: n.Address, Up: n.Up}
			if n.Cause != nil {
				node.Cause = n.Cause.Error()
			}
			out.Fleet.Nodes = append(out.Fleet.Nodes, node)
		}
	}
	for end, n := range p.Tunnels.Ended {
		out.Tunnels.Ended[proxy.TunnelEnd(end).String()] = n
	}
	for _, u := range st.Upstreams {
		pool := upstreamStatus{Name: u.Name, Panicking: u.Panicking, Limit: u.Limit, Servers: []serverStatus{}}
		var ring float64
		for _, s := range u.Servers {
			ring += s.Share * float64(s.Weight)
		}
		for _, s := range u.Servers {
			server := serverOf(s)
			if ring > 0 {
				server.Ring = s.Share * float64(s.Weight) / ring
			}
			pool.Servers = append(pool.Servers, server)
		}
		out.Upstreams = append(out.Upstreams, pool)
	}
	return out
}

func serverOf(s upstream.ServerStats) serverStatus {
	out := serverStatus{
		ID: s.ID, Address: s.Address, Weight: s.Weight, Backup: s.Backup,
		Standing: s.Health.Standing.String(), Reason: s.Health.Reason, Since: s.Health.Since,
		Ejections: s.Health.Ejections, Share: s.Share, LastCheck: s.Health.Checks.Result,
		InFlight: s.InFlight, Queued: s.Queued, Connections: s.Open, Idle: s.Idle, Requests: s.Requests,
		Failures: make(map[string]uint64),
	}
	if !s.Health.Until.IsZero() {
		out.Until = &s.Health.Until
	}
	for kind, n := range s.Failures {
		out.Failures[kind.String()] += n
	}
	return out
}

func byName(counts map[cache.Reason]uint64) map[string]uint64 {
	out := make(map[string]uint64, len(counts))
	for r, n := range counts {
		out[r.String()] = n
	}
	return out
}
