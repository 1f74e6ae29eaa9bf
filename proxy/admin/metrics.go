package admin

import (
	"maps"
	"runtime"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"ringfence/health"
	"ringfence/proxy"
	"ringfence/proxy/upstream"
)

// collector turns the state into metrics at each scrape. The counters are the
// proxy's own: nothing of Prometheus is touched by a request.
type collector struct{ o Options }

// Describe implements prometheus.Collector. It sends nothing: which series
// there are depends on the configuration.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	st := c.o.State()
	m := metrics{ch}
	m.gauge("build_info", "The running version, and the Go it was built with; always 1.", 1,
		label{"version", c.o.Version}, label{"goversion", runtime.Version()})
	m.reloads(st)
	m.counter("upgrades_failed_total", "Processes that were started to take the place of this one, and did not.", st.UpgradesFailed)
	m.requests(st)
	m.clients(st)
	m.flights(st)
	m.memory(st)
	m.snapshot(st)
	m.tunnels(st)
	m.purges(st)
	m.observed(st)
	m.fleet(st)
	m.accessLog(st)
	m.upstreams(st)
}

type label struct{ name, value string }

// metrics sends one series after the other.
type metrics struct{ ch chan<- prometheus.Metric }

func (m metrics) counter(name, help string, v uint64, labels ...label) {
	m.send(prometheus.CounterValue, name, help, float64(v), labels)
}

func (m metrics) gauge(name, help string, v float64, labels ...label) {
	m.send(prometheus.GaugeValue, name, help, v, labels)
}

func (m metrics) send(kind prometheus.ValueType, name, help string, v float64, labels []label) {
	desc, values := describe(name, help, labels)
	m.ch <- prometheus.MustNewConstMetric(desc, kind, v, values...)
}

func describe(name, help string, labels []label) (*prometheus.Desc, []string) {
	names, values := make([]string, len(labels)), make([]string, len(labels))
	for i, l := range labels {
		names[i], values[i] = l.name, l.value
	}
	return prometheus.NewDesc("ringfence_"+name, help, names, nil), values
}

func (m metrics) requests(st State) {
	r := st.Proxy.Requests
	for _, route := range slices.Sorted(maps.Keys(r.Routes)) {
		for o, n := range r.Routes[route] {
			m.counter("requests_total", "Requests by their route's host and path prefix, and by what became of them in the cache.", n,
				label{"route", route}, label{"outcome", proxy.Outcome(o).String()})
		}
	}
	for reason, n := range r.Forwarded {
		m.counter("requests_forwarded_total", "Requests that the store did not answer, by why.", n, label{"reason", reason.String()})
	}
	for o := range r.FirstByte {
		outcome := label{"outcome", proxy.Outcome(o).String()}
		m.histogram("request_first_byte_seconds", "Time from a request's head to the head of its answer, by outcome.", &r.FirstByte[o], outcome)
		m.histogram("request_duration_seconds", "Time from a request's head to the end of its answer, by outcome.", &r.Whole[o], outcome)
		m.counter("response_body_bytes_total", "Bytes of answers' bodies sent to clients, by outcome.", r.Bytes[o], outcome)
	}
	m.histogram("fill_wait_seconds", "Time that requests waited for the heads of other requests' fills.", &r.Waits)
	m.counter("requests_refused_total", "Requests that were malformed, too large, too late, or had no route.", r.Refused)
	m.counter("requests_overload_total", "Requests beyond the most that may be under way.", r.Overload)
	m.counter("requests_collapsed_total", "Requests answered by another request's fill.", r.Collapsed)
	m.counter("requests_stale_total", "Requests answered from the store in place of a failing upstream.", r.Stale)
	m.gauge("requests_in_flight", "Requests being answered.", float64(r.InFlight))
	for class, n := range r.Status[1:] {
		m.counter("responses_total", "Answers by status class.", n, label{"class", strconv.Itoa(class+1) + "xx"})
	}
	m.counter("renewals_total", "Fills in the background, for stored responses at or near their end.", r.Renewals)
	m.counter("variants_dropped_total", "Stored responses that gave way to a newer variant of their key.", r.VariantsDropped)
	m.counter("fills_stored_total", "Fills that went into the memory tier.", r.Stored)
	for reason, n := range r.Unstored {
		m.counter("fills_unstored_total", "Fills that were not stored, by why.", n, label{"reason", reason.String()})
	}
}

func (m metrics) clients(st State) {
	m.gauge("client_connections", "Open client connections.", float64(st.Clients.Open))
	m.gauge("client_http2_connections", "Open client connections that speak HTTP/2.", float64(st.Clients.H2Open))
	m.counter("client_http2_connections_total", "Client connections that spoke HTTP/2.", st.Clients.H2Accepted)
	m.counter("client_http2_connections_abusive_total", "Client connections closed because most of their requests were taken back at once.", st.Clients.H2Abusive)
	m.counter("client_requests_total", "Requests of clients, by protocol.", st.Clients.Requests, label{"protocol", "http/1"})
	m.counter("client_requests_total", "Requests of clients, by protocol.", st.Clients.H2Requests, label{"protocol", "http/2"})
	m.gauge("client_connections_lingering", "Closed connections whose clients are still sending.", float64(st.Clients.Lingering))
	m.counter("client_connections_total", "Client connections accepted.", st.Clients.Accepted)
	for _, l := range []struct {
		what string
		n    uint64
	}{{"request", st.Clients.Idle}, {"head", st.Clients.SlowHeads}, {"body", st.Clients.SlowBodies}, {"answer", st.Clients.SlowReads}} {
		m.counter("client_timeouts_total", "Clients that took too long: to ask for something, to send a head or a body, or to take an answer.", l.n, label{"of", l.what})
	}
	m.counter("client_accepts_failed_total", "Attempts to accept a client's connection for which there was no file descriptor or memory.", st.Clients.Starved)
	for _, r := range []struct {
		reason string
		n      uint64
	}{{"full", st.Clients.Full}, {"client", st.Clients.Crowded}, {"handshake", st.Clients.Failed}} {
		m.counter("client_connections_rejected_total", "Client connections turned away: too many, too many of one client, or no valid handshake.", r.n, label{"reason", r.reason})
	}
}

func (m metrics) flights(st State) {
	f := st.Proxy.Flights
	m.gauge("fills_in_progress", "Fills in progress.", float64(f.Flights))
	m.gauge("fill_waiters", "Requests that wait for the head of a fill.", float64(f.Waiting))
	m.gauge("fill_buffered_bytes", "Bytes held by fills in progress.", float64(f.Buffered))
	for _, e := range []struct {
		event string
		n     int64
	}{
		{"led", f.Leads}, {"followed", f.Follows}, {"released", f.Released}, {"failed", f.Failed},
		{"reelected", f.Elections}, {"aborted", f.Aborted}, {"abandoned", f.Abandoned}, {"panicked", f.Panics},
		{"refused", f.RefusedFlights + f.RefusedReaders}, {"too_slow", f.TooSlow},
	} {
		m.counter("fill_events_total", "What happened to fills and their readers.", uint64(e.n), label{"event", e.event})
	}
}

func (m metrics) memory(st State) {
	s := st.Proxy.Memory
	m.gauge("memory_bytes", "Bytes of stored objects.", float64(s.Bytes))
	m.gauge("memory_limit_bytes", "Bound on the bytes of stored objects.", float64(s.MaxBytes))
	m.gauge("memory_objects", "Stored objects.", float64(s.Entries))
	m.counter("memory_evicted_total", "Objects that made room for others.", s.Evicted)
	m.counter("memory_expired_total", "Objects that outlived their use.", s.Expired)
	m.counter("memory_refused_total", "Objects that the tier did not let in.", s.Refused)
	x := st.Proxy.Index
	m.gauge("index_entries", "Vary records and marks of what could not be shared.", float64(x.Entries))
	m.gauge("index_limit", "Bound on them.", float64(x.Limit))
	m.counter("index_evicted_total", "Those that made room for others before their time.", x.Evicted)
}

func (m metrics) tunnels(st State) {
	t := st.Proxy.Tunnels
	m.gauge("tunnels", "Connections that were switched to another protocol, such as WebSocket.", float64(t.Open))
	m.counter("tunnels_opened_total", "Those that there were.", t.Total)
	m.counter("tunnels_refused_total", "Requests to switch beyond the limit.", t.Refused)
	for end, n := range t.Ended {
		m.counter("tunnels_ended_total", "Tunnels that have ended, by why.", n, label{"reason", proxy.TunnelEnd(end).String()})
	}
	const help = "Bytes that went through tunnels, by who sent them."
	m.counter("tunnel_bytes_total", help, t.FromClients, label{"from", "client"})
	m.counter("tunnel_bytes_total", help, t.FromServers, label{"from", "server"})
}

func (m metrics) purges(st State) {
	const help = "Purges that this instance was asked for, by what they named, and whether they left it stale (soft) or nothing of it (hard)."
	for k, n := range st.Proxy.Purges {
		kind := label{"kind", proxy.PurgeKind(k).String()}
		m.counter("purges_total", help, n.Hard, kind, label{"mode", "hard"})
		m.counter("purges_total", help, n.Soft, kind, label{"mode", "soft"})
	}
}

func (m metrics) fleet(st State) {
	f := st.Proxy.Fleet
	if f == nil {
		return
	}
	for _, n := range f.Nodes {
		node, up := label{"node", n.Address}, 0.0
		if n.Up {
			up = 1
		}
		m.gauge("fleet_node_up", "Whether a node of the fleet's engine is in use.", up, node)
		m.gauge("fleet_node_calls", "Calls of the node under way.", float64(n.Calls), node)
	}
	m.gauge("fleet_leases", "Leases held, or being asked for.", float64(f.Leading))
	m.gauge("fleet_follows", "Fills of other instances being followed.", float64(f.Following))
	m.gauge("fleet_buffered_bytes", "Bytes on their way from and to the engine.", float64(f.Buffered))
	for _, e := range []struct {
		event string
		n     int64
	}{
		{"taken", f.Taken}, {"held_elsewhere", f.HeldElsewhere}, {"lost", f.Lost}, {"fenced_off", f.FencedOff},
		{"followed", f.Followed}, {"found", f.Hits}, {"taken_over", f.TakenOver}, {"fallback", f.Fallbacks},
		{"overload", f.Overloads}, {"bad_value", f.BadValues}, {"error", f.Errors}, {"invalidation", f.Invalidations},
	} {
		m.counter("fleet_events_total", "What happened between this instance and the fleet's engine.", uint64(e.n), label{"event", e.event})
	}
	m.counter("fleet_written_bytes_total", "Bytes written to the logs of fills.", uint64(f.Written))
	m.counter("fleet_read_bytes_total", "Bytes read from them.", uint64(f.Read))
}

func (m metrics) accessLog(st State) {
	if l := st.Proxy.AccessLog; l != nil {
		m.counter("access_log_lines_total", "Lines of the access log written.", l.Lines)
		m.counter("access_log_dropped_total", "Lines of the access log lost: the file did not keep up, or could not be written.", l.Dropped)
	}
}

func (m metrics) upstreams(st State) {
	for _, u := range st.Upstreams {
		pool := label{"upstream", u.Name}
		panicking := 0.0
		if u.Panicking {
			panicking = 1
		}
		m.histogram("upstream_response_seconds", "Time that requests to servers took to the head of the answer or the failure; each retry is one of its own.", &u.Took, pool)
		m.gauge("upstream_panicking", "Whether health is disregarded, since too few servers are fit.", panicking, pool)
		m.counter("upstream_panics_total", "Requests sent while health was disregarded.", u.Panics, pool)
		m.counter("upstream_retries_total", "Requests sent to one more server after a failure.", u.Retries, pool)
		m.counter("upstream_hedges_total", "Requests sent to a second server while the first was silent.", u.Hedges, pool)
		m.counter("upstream_retries_out_of_budget_total", "Retries and hedges that the budget did not allow.", u.OutOfBudget, pool)
		m.counter("upstream_spread_total", "Times a server was passed over for being over its share of the load.", u.Spread, pool)
		m.counter("upstream_shed_total", "Requests beyond the limit of adaptive concurrency.", u.Shed, pool)
		if u.Limit > 0 {
			m.gauge("upstream_concurrency_limit", "Requests at once that adaptive concurrency allows.", float64(u.Limit), pool)
		}
		m.counter("upstream_lookups_total", "Look-ups of servers' names.", u.Discovery.Lookups, pool)
		m.counter("upstream_lookup_errors_total", "Look-ups that failed.", u.Discovery.LookupErrors, pool)
		m.counter("upstream_file_loads_total", "Readings of the file of servers.", u.Discovery.Loads, pool)
		m.counter("upstream_file_load_errors_total", "Readings of the file of servers that failed.", u.Discovery.LoadErrors, pool)
		for _, s := range u.Servers {
			m.server(s, pool, label{"server", s.ID})
		}
	}
}

func (m metrics) server(s upstream.ServerStats, of ...label) {
	for standing := health.Live; standing <= health.Drained; standing++ {
		is := 0.0
		if s.Health.Standing == standing {
			is = 1
		}
		m.gauge("upstream_server_standing", "What the server is: 1 for the standing that it has.", is, with(of, "standing", standing.String())...)
	}
	m.gauge("upstream_server_share", "Part of its weight that the server gets requests for.", s.Share, of...)
	m.gauge("upstream_server_ring_share", "Part of all keys that are the server's now, 0 to 1.", s.Keys, of...)
	m.gauge("upstream_server_ejections_remembered", "Ejections that make the next one longer.", float64(s.Health.Ejections), of...)
	const ejections = "Times the server was ejected: for what came of requests, or of health checks."
	m.counter("upstream_server_ejections_total", ejections, s.Ejected, with(of, "cause", "requests")...)
	m.counter("upstream_server_ejections_total", ejections, s.Downed, with(of, "cause", "checks")...)
	m.gauge("upstream_server_in_flight", "Requests in flight to the server.", float64(s.InFlight), of...)
	m.gauge("upstream_server_queued", "Requests that wait for one in flight to end.", float64(s.Queued), of...)
	m.gauge("upstream_server_connections", "Open connections to the server.", float64(s.Open), of...)
	m.gauge("upstream_server_idle_connections", "Idle ones among them.", float64(s.Idle), of...)
	m.counter("upstream_server_requests_total", "Requests sent to the server.", s.Requests, of...)
	m.send(prometheus.CounterValue, "upstream_server_response_seconds_total", "Time that requests to the server took in all, to the head of the answer or the failure.", s.Took.Seconds(), of)
	m.counter("upstream_server_reused_total", "Those sent on a kept connection.", s.Reused, of...)
	m.counter("upstream_server_waited_total", "Requests that were queued.", s.Waited, of...)
	m.counter("upstream_server_queue_full_total", "Requests that found no place in the queue.", s.QueueFull, of...)
	m.counter("upstream_server_queue_late_total", "Requests that waited in the queue in vain.", s.QueueLate, of...)
	m.counter("upstream_server_checks_total", "Health checks finished.", s.Health.Checks.Done, of...)
	m.counter("upstream_server_check_failures_total", "Health checks that failed.", s.Health.Checks.Failed, of...)
	for kind, n := range s.Failures {
		m.counter("upstream_server_failures_total", "Requests to the server that failed, by kind.", n, with(of, "kind", kind.String())...)
	}
}

// with adds a label to a list that is shared.
func with(of []label, name, value string) []label {
	return append(of[:len(of):len(of)], label{name, value})
}
