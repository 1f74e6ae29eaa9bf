package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// deriveUpstream returns the upstream at path with the defaults that follow
// from other options.
func deriveUpstream(d *decoder, path string, u Upstream) Upstream {
	written := func(option string) bool { return d.written(path + option) }
	if !written(".hash_by") {
		switch u.Balance {
		case BalanceHash:
		case BalanceKetama:
			u.HashBy = HashBy{Kind: HashURI}
		default:
			u.HashBy = HashBy{}
		}
	}
	if u.HashBy == (HashBy{}) && !written(".balance_factor") {
		u.BalanceFactor = 0
	}
	if !written(".max_requests") {
		u.MaxRequests = u.MaxConnections
	}
	if !written(".max_idle_connections") {
		u.MaxIdleConnections = min(u.MaxIdleConnections, u.MaxConnections)
	}
	for i, m := range u.Servers {
		u.Servers[i].ID = cmp.Or(m.ID, m.Address)
		u.Servers[i].MaxRequests = cmp.Or(m.MaxRequests, u.MaxRequests)
	}
	if check := &u.HealthCheck; check.Type != CheckNone {
		if !written(".health_check.timeout") {
			check.Timeout = min(check.Timeout, check.Interval/2)
		}
		if !written(".health_check.fast_interval") {
			check.FastInterval = max(check.Interval/4, time.Millisecond)
		}
	}
	if !written(".ejection.max_time") {
		u.Ejection.MaxTime = max(u.Ejection.MaxTime, u.Ejection.BaseTime)
	}
	if limit := &u.AdaptiveConcurrency; !written(".adaptive_concurrency.min") {
		limit.Min = min(limit.Min, limit.Max)
	} else if !written(".adaptive_concurrency.max") {
		limit.Max = max(limit.Max, limit.Min)
	}
	return u
}

func validateUpstream(d *decoder, path string, u Upstream) {
	validateBalance(d, path, u)
	validateServers(d, path, u)
	validateHealthCheck(d, path+".health_check", u)
	validateEjection(d, path+".ejection", u.Ejection)
	validateRetry(d, path, u)
	validateLimits(d, path, u)
	validateUpstreamTLS(d, path, u)
}

func validateBalance(d *decoder, path string, u Upstream) {
	if u.Balance == BalanceHash || u.Balance == BalanceKetama {
		return
	}
	for option, said := range map[string]bool{".hash_by": u.HashBy != HashBy{}, ".balance_factor": u.BalanceFactor != 0} {
		if said && d.sound(path+option) {
			d.faultAt(path+option, "means nothing to balance: %s; remove it or write balance: hash", u.Balance)
		}
	}
}

// validateServers wants servers that can be told apart, and somebody to send
// requests to. What comes from a file is judged when it is read.
func validateServers(d *decoder, path string, u Upstream) {
	servers, file := path+".servers", path+".servers_file"
	switch alone := d.sound(servers, file) && u.ServersFile == ""; {
	case alone && len(u.Servers) == 0 && d.written(file):
		d.faultAt(file, "is empty, and so is servers; write the path of a file, or servers: [{address: 127.0.0.1:9001}]")
	case alone && len(u.Servers) > 0:
		validateTraffic(d, servers, u.Servers)
		if !slices.ContainsFunc(u.Servers, func(m Member) bool { return !m.Backup }) {
			d.faultAt(servers, "every server is a backup; write backup: off for one")
		}
	}
	validateMembers(d, servers, u.Servers)
	for i, m := range u.Servers {
		limit := fmt.Sprintf("%s[%d].max_requests", servers, i)
		if d.sound(limit, path+".max_connections") && d.written(limit) && m.MaxRequests > u.MaxConnections {
			d.faultAt(limit, "is more than max_connections, which is %d; write at most that", u.MaxConnections)
		}
	}
}

// validateTraffic wants a server that is not drained.
func validateTraffic(d *decoder, path string, members []Member) {
	if !slices.ContainsFunc(members, func(m Member) bool { return m.Weight > 0 }) {
		d.faultAt(path, "no server has a weight above 0; give one at least weight: 1")
	}
}

// validateMembers wants each member in one form, and none twice.
func validateMembers(d *decoder, path string, members []Member) {
	seen := make(map[string]string)
	for i, m := range members {
		member := fmt.Sprintf("%s[%d]", path, i)
		known, fault := m.ID, "the id %q is taken%s; remove this server or give it its own id"
		if d.written(member + ".srv") {
			validateSRV(d, member)
			known, fault = m.SRV, "the srv %q is taken%s; remove this server"
		}
		if known == "" {
			continue
		}
		if first, taken := seen[known]; taken {
			d.faultAt(member, fault, known, d.atLine(first))
			continue
		}
		seen[known] = member
	}
}

func validateSRV(d *decoder, member string) {
	if d.written(member + ".address") {
		d.faultAt(member+".srv", "address is written, too; remove one of them")
		return
	}
	if d.written(member + ".id") {
		d.faultAt(member+".id", "means nothing to srv, whose servers are known by their addresses; remove it")
	}
	if d.written(member + ".weight") {
		d.faultAt(member+".weight", "means nothing to srv, whose records have weights of their own; remove it")
	}
}

func validateHealthCheck(d *decoder, path string, u Upstream) {
	check := u.HealthCheck
	if check.Type == CheckNone {
		return // none, or one at fault
	}
	if check.Type != CheckHTTP {
		for _, option := range []string{".method", ".path", ".host", ".headers", ".statuses", ".body"} {
			if d.written(path + option) {
				d.faultAt(path+option, "means nothing to a %s check; remove it or write type: http", check.Type)
			}
		}
	}
	if check.Type == CheckTLS && d.sound(path+".type", strings.TrimSuffix(path, ".health_check")+".tls") && !u.TLS {
		d.faultAt(path+".type", "the upstream has no TLS to check; write tls: on beside health_check, or type: tcp")
	}
	if check.Method == "HEAD" && check.Body != "" && d.sound(path+".method") {
		d.faultAt(path+".body", "an answer to HEAD has no body; remove it or write method: GET")
	}
	validateDistinct(d, path+".statuses", check.Statuses)
	if len(check.Statuses) == 0 {
		d.faultAt(path+".statuses", "is empty, so that no answer would do; remove the line for the default")
	}
	for _, m := range u.Servers {
		if check.Port != 0 && strings.HasPrefix(m.Address, "unix:") {
			d.faultAt(path+".port", "%s has no ports; remove it", clip(m.Address))
			break
		}
	}
	timeout, fast, interval := path+".timeout", path+".fast_interval", path+".interval"
	if d.sound(timeout, interval) && check.Timeout >= check.Interval {
		d.faultAt(timeout, "want less than interval, which is %v", check.Interval)
	}
	if d.sound(fast, interval) && check.FastInterval > check.Interval {
		d.faultAt(fast, "want at most interval, which is %v", check.Interval)
	}
}

func validateEjection(d *decoder, path string, e Ejection) {
	validateDistinct(d, path+".statuses", e.Statuses)
	base, longest := path+".base_time", path+".max_time"
	if d.sound(base, longest) && e.MaxTime < e.BaseTime {
		d.faultAt(longest, "want at least base_time, which is %v", e.BaseTime)
	}
}

func validateRetry(d *decoder, path string, u Upstream) {
	validateDistinct(d, path+".retry.on", u.Retry.On)
	try, whole := path+".retry.per_try_timeout", path+".response_timeout"
	if d.sound(try, whole) && u.Retry.PerTryTimeout > 0 && u.Retry.PerTryTimeout >= u.ResponseTimeout {
		d.faultAt(try, "want less than response_timeout, which is %v", u.ResponseTimeout)
	}
}

func validateLimits(d *decoder, path string, u Upstream) {
	for option, n := range map[string]int{".max_requests": u.MaxRequests, ".max_idle_connections": u.MaxIdleConnections} {
		if d.sound(path+option, path+".max_connections") && n > u.MaxConnections {
			d.faultAt(path+option, "is more than max_connections, which is %d; write at most that", u.MaxConnections)
		}
	}
	least, most := path+".adaptive_concurrency.min", path+".adaptive_concurrency.max"
	if d.sound(least, most) && u.AdaptiveConcurrency.Min > u.AdaptiveConcurrency.Max {
		d.faultAt(least, "is more than max, which is %d; write at most that", u.AdaptiveConcurrency.Max)
	}
}

// validateUpstreamTLS wants nothing said that would have no effect, and a name
// to verify each certificate by.
func validateUpstreamTLS(d *decoder, path string, u Upstream) {
	if !d.sound(path + ".tls") {
		return
	}
	if !u.TLS {
		validateNoTLS(d, path, map[string]bool{
			".tls_ca_file": u.TLSCAFile != "", ".tls_server_name": u.TLSServerName != "", ".tls_cert_file": u.TLSCertFile != "",
			".tls_key_file": u.TLSKeyFile != "", ".tls_insecure": u.TLSInsecure,
		})
		return
	}
	validateKeyPair(d, path, u.TLSCertFile, u.TLSKeyFile)
	if u.TLSInsecure && u.TLSCAFile != "" {
		d.faultAt(path+".tls_ca_file", "means nothing where certificates are not verified; remove it or write tls_insecure: off")
	}
	if u.TLSInsecure || u.TLSServerName != "" || !d.sound(path+".tls_server_name", path+".tls_insecure") {
		return
	}
	for i, m := range u.Servers {
		if strings.HasPrefix(m.Address, "unix:") {
			d.faultAt(fmt.Sprintf("%s.servers[%d].address", path, i), "a socket has no name to verify its certificate by; write tls_server_name: NAME beside servers")
		}
	}
}

// validateKeyPair wants a certificate and its key, or neither.
func validateKeyPair(d *decoder, path, certFile, keyFile string) {
	cert, key := path+".tls_cert_file", path+".tls_key_file"
	switch sound := d.sound(cert, key); {
	case sound && certFile != "" && keyFile == "":
		d.faultAt(cert, "needs its key; write tls_key_file: PATH")
	case sound && certFile == "" && keyFile != "":
		d.faultAt(key, "needs its certificate; write tls_cert_file: PATH")
	}
}

// validateNoTLS wants nothing said of TLS where it is off; said tells of each
// option whether it is.
func validateNoTLS(d *decoder, path string, said map[string]bool) {
	for option, there := range said {
		if there {
			d.faultAt(path+option, "means nothing without TLS; remove it or write tls: on")
		}
	}
}
