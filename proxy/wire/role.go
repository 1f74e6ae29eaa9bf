package wire

import "strings"

// Role says what a proxy owes a request field by its name, beside what holds
// for hop-by-hop fields (see [IsHopByHop]). The set is closed; the zero value
// is [Plain].
type Role uint8

const (
	// Plain fields are passed on as they came.
	Plain Role = iota
	// Framing fields say where the message ends and whom it is for. They belong
	// to the exchange: the proxy writes its own.
	Framing
	// Identity fields say for whom, and on which way, the request came. The
	// proxy answers for them, and writes its own.
	Identity
	// Unkeyed fields are obeyed by applications as if they were a part of the
	// request line, the connection or the client's address, while no cache has
	// them in its key. No client has a use for them but to have an answer made
	// and stored that others did not ask for.
	Unkeyed
)

// RoleOf returns the role of a field name. A name with underscores in place of
// hyphens has the role of the one with hyphens, since to a server that follows
// CGI it is the same (RFC 3875, section 4.1.18). It does not allocate.
func RoleOf(name string) Role {
	const forwarded = "X-Forwarded-"
	if len(name) > len(forwarded) && IsSpelling(name[:len(forwarded)], forwarded) {
		if isAnyOf(name[len(forwarded):], "For", "Host", "Proto", "Port") {
			return Identity
		}
		return Unkeyed
	}
	switch len(name) {
	case 3:
		return roleIf(Identity, name, "Via")
	case 4:
		return roleIf(Framing, name, "Host")
	case 5: // which CGI programs take for the proxy of their own requests
		return roleIf(Unkeyed, name, "Proxy")
	case 6:
		if isAnyOf(name, "Expect") {
			return Framing
		}
		return roleIf(Unkeyed, name, "X-Host")
	case 8:
		return roleIf(Unkeyed, name, "X-Scheme")
	case 9:
		if isAnyOf(name, "Forwarded", "X-Real-IP") {
			return Identity
		}
		return roleIf(Unkeyed, name, "Client-IP")
	case 11: // Client-Cert and Client-Cert-Chain: RFC 9440, section 2.4
		return roleIf(Unkeyed, name, "X-Client-IP", "X-Remote-IP", "Client-Cert")
	case 12:
		return roleIf(Unkeyed, name, "X-Url-Scheme")
	case 13:
		return roleIf(Unkeyed, name, "X-Rewrite-URL", "X-HTTP-Method", "X-Remote-Addr", "Fly-Client-IP")
	case 14:
		if isAnyOf(name, "Content-Length") {
			return Framing
		}
		return roleIf(Unkeyed, name, "X-Original-URL", "X-Original-URI", "X-ProxyUser-Ip", "True-Client-IP")
	case 15:
		return roleIf(Unkeyed, name, "X-Original-Host", "Front-End-Https", "Proxy-Client-IP")
	case 16:
		return roleIf(Unkeyed, name, "CF-Connecting-IP", "X-Originating-IP", "Fastly-Client-IP", "X-Azure-ClientIP")
	case 17:
		if isAnyOf(name, "Transfer-Encoding") {
			return Framing
		}
		return roleIf(Unkeyed, name, "X-Method-Override", "X-Original-Method", "Client-Cert-Chain")
	case 18:
		return roleIf(Unkeyed, name, "CF-Connecting-IPv6", "WL-Proxy-Client-IP")
	case 19:
		return roleIf(Unkeyed, name, "X-Cluster-Client-IP", "X-Appengine-User-IP")
	case 20:
		return roleIf(Unkeyed, name, "X-HTTP-Host-Override")
	case 22:
		return roleIf(Unkeyed, name, "X-HTTP-Method-Override")
	case 23:
		return roleIf(Unkeyed, name, "X-Middleware-Subrequest")
	case 24:
		return roleIf(Unkeyed, name, "X-Original-Forwarded-For", "X-Envoy-External-Address")
	case 26:
		return roleIf(Unkeyed, name, "CloudFront-Forwarded-Proto")
	}
	return Plain
}

// IsAliased reports whether name spells a framing or identity field, or one of a
// single hop, with underscores: what is behind may take it for that field, while all who read
// HTTP take it for another. Such a request is to be refused. It does not
// allocate, and looks closer only at names that have an underscore.
func IsAliased(name string) bool {
	if strings.IndexByte(name, '_') < 0 {
		return false
	}
	role := RoleOf(name)
	return role == Framing || role == Identity || isAnyOf(name, "Proxy-Authorization", "Proxy-Connection", "Keep-Alive")
}

// IsSpelling reports whether name is want but for case, or for underscores in
// place of hyphens.
func IsSpelling(name, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i := range len(name) {
		if lower(name[i]) != lower(want[i]) && (name[i] != '_' || want[i] != '-') {
			return false
		}
	}
	return true
}

func isAnyOf(name string, list ...string) bool {
	for _, want := range list {
		if IsSpelling(name, want) {
			return true
		}
	}
	return false
}

func roleIf(r Role, name string, list ...string) Role {
	if isAnyOf(name, list...) {
		return r
	}
	return Plain
}
