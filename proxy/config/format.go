package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
)

// parseText checks a text against the shape its field's tag names, and returns
// it in the one form in which the rest of the program meets it.
func parseText(format, text string) (string, error) {
	switch format {
	case "listen":
		return text, checkAddress(text, true, exampleListen)
	case "admin-listen":
		return parseAdminListen(text)
	case "admin-host":
		return parseAdminHost(text)
	case "token":
		return text, checkToken(text)
	case "server":
		return parseServer(text)
	case "srv":
		return parseSRV(text)
	case "redis-address":
		return parseRedisAddress(text)
	case "authority":
		return text, checkAuthority(text)
	case "host-pattern":
		return parseHostPattern(text)
	case "path", "target":
		return text, checkPath(text, format == "target")
	case "name":
		return text, checkName(text)
	case "id":
		return text, checkID(text)
	case "parameter":
		return text, checkParameter(text)
	case "protocol":
		return parseProtocol(text)
	case "media-pattern":
		return parseMediaPattern(text)
	case "key-prefix":
		return text, checkKeyPrefix(text)
	case "server-name":
		return text, checkServerName(text)
	case "method":
		return text, checkMethod(text)
	case "excerpt":
		return text, checkExcerpt(text)
	case "path-of-file":
		return text, checkFile(text)
	case "snapshot-file":
		return text, checkSnapshotFile(text)
	case "log-path":
		return text, checkLogPath(text)
	case "access-format":
		return text, checkAccessFormat(text)
	case "id-field":
		return parseIDField(text)
	case "unkeyed-field":
		return parseUnkeyedField(text)
	case "line":
		return text, checkLine(text)
	default:
		return text, nil
	}
}

// What to write for an address of each kind.
const (
	exampleListen  = "127.0.0.1:8080 or :8080"
	exampleAddress = "127.0.0.1:9001 or app.internal:9001"
	exampleRedis   = "127.0.0.1:6379, redis.internal:6379 or unix:/run/redis.sock"
)

// checkAddress wants host:port; to listen on, the host may be empty and the
// port 0. What may be a password is not shown.
func checkAddress(text string, listen bool, example string) error {
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		rest, _, _ := strings.Cut(text[at+1:], "/")
		return fmt.Errorf("want host:port alone, got a user before it; write %s", clip(rest))
	}
	wrong := fmt.Errorf("want host:port, got %q; write %s", clip(text), example)
	if _, rest, found := strings.Cut(text, "://"); found {
		rest, _, _ = strings.Cut(rest, "/")
		return fmt.Errorf("want host:port, got the URL %q; write %s", clip(text), clip(rest))
	}
	if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() {
		return fmt.Errorf("want host:port, got %q; write an IPv6 address in brackets and add the port, as in [%s]:8080", text, text)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || !(listen && host == "") && !validHost(host) {
		return wrong
	}
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil && strings.Trim(port, "0123456789") != "" || port == "":
		return wrong
	case err != nil || n == 0 && !listen:
		return fmt.Errorf("want a port from 1 to 65535, got %q", clip(text))
	}
	return nil
}

// parseRedisAddress spells an address the one way: keys are placed by it, on
// every instance of a fleet alike.
func parseRedisAddress(text string) (string, error) {
	if socket, ok := strings.CutPrefix(text, "unix:"); ok {
		if !strings.HasPrefix(socket, "/") || path.Clean(socket) != socket || strings.ContainsFunc(socket, unicode.IsControl) {
			return "", fmt.Errorf("want the absolute path of a socket behind unix:, in its shortest form, got %q; write unix:/run/redis.sock", clip(text))
		}
		return text, nil
	}
	if err := checkAddress(text, false, exampleRedis); err != nil {
		return "", err
	}
	host, port, _ := net.SplitHostPort(text)
	port = strings.TrimLeft(port, "0")
	if ip, err := netip.ParseAddr(host); err == nil {
		return net.JoinHostPort(ip.Unmap().String(), port), nil
	}
	return net.JoinHostPort(strings.ToLower(host), port), nil
}

// checkAuthority wants the content of a Host field (RFC 9110, section 7.2).
func checkAuthority(text string) error {
	if text == "" || validHost(strings.Trim(text, "[]")) || checkAddress(text, false, exampleAddress) == nil {
		return nil
	}
	return fmt.Errorf("want a host with or without a port, got %q; write app.internal or app.internal:8080", clip(text))
}

func parseHostPattern(text string) (string, error) {
	host := strings.ToLower(text)
	name, wildcard := strings.CutPrefix(host, "*.")
	switch {
	case host == "":
		return "", nil
	case host == "*":
		return "", fmt.Errorf("want a host, got %q; remove the line to match every host", text)
	case strings.Contains(name, "*"):
		return "", fmt.Errorf("want at most one * and only as the first label, got %q; write *.example.com", clip(text))
	case wildcard && validHost(name) && !isIP(name):
		return host, nil
	case !wildcard && isIP(host) && !strings.Contains(host, ":"):
		return host, nil
	case !wildcard && strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") && isIP(host[1:len(host)-1]):
		return host, nil
	case !wildcard && validHost(host) && !isIP(host):
		return host, nil
	}
	if checkAddress(host, false, exampleAddress) == nil {
		bare := host[:strings.LastIndexByte(host, ':')]
		return "", fmt.Errorf("want a host without a port, got %q; write %s", clip(text), clip(bare))
	}
	return "", fmt.Errorf("want a host name, got %q; write example.com, or *.example.com for all names below it", clip(text))
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// validHost reports whether host is an IP address without brackets or a name
// of letters, digits, hyphens and underscores (RFC 1123, section 2.1, with the
// underscore that container networks use). A name whose last label is a number
// would be read as a broken IP address.
func validHost(host string) bool {
	if isIP(host) {
		return true
	}
	if len(host) > 253 {
		return false
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || !madeOf(label, "-_") || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

// checkPath wants the bytes a request line may hold: an absolute path and, in
// a target, a query (RFC 9112, section 3.2.1).
func checkPath(text string, query bool) error {
	if !strings.HasPrefix(text, "/") {
		return fmt.Errorf("want a path, got %q; write /%s", clip(text), clip(text))
	}
	forbidden := "#?"
	if query {
		forbidden = "#"
	}
	for i, r := range text {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(forbidden, r) {
			return fmt.Errorf("want a path without %q, got %q; end it there, or write the character percent-encoded", r, clip(text[:i+1]))
		}
	}
	return nil
}

func checkID(text string) error {
	if text == "" || len(text) > 255 || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("want 1 to 255 bytes without control characters, got %q; remove the line to use the address", clip(text))
	}
	return nil
}

// checkName wants a name fit for a metric label and a log line.
func checkName(text string) error {
	if text == "" || len(text) > 64 || !madeOf(text, "._-") {
		return fmt.Errorf("want a name of 1 to 64 letters, digits, '.', '_' and '-', got %q", clip(text))
	}
	return nil
}

// parseNegative takes a status that a stored answer may have beside success, or
// a class of them, which it returns as its digit.
func parseNegative(text string) (int, error) {
	switch text {
	case "304":
		return 0, errors.New("304 confirms a stored answer and is none itself; remove it")
	case "3xx", "4xx", "5xx":
		return int(text[0] - '0'), nil
	}
	status, err := parseCount("", text)
	if err != nil || status < 300 || status > 599 {
		return 0, fmt.Errorf("want a status from 300 to 599 or a class (3xx, 4xx, 5xx), got %q", clip(text))
	}
	return status, nil
}

// checkParameter wants the name of a query's parameter, or a pattern of names.
// Names are compared decoded, so an escape would match none.
func checkParameter(text string) error {
	switch at := strings.IndexAny(text, "&=?"); {
	case text == "":
		return errors.New(`want the name of a parameter or a pattern such as utm_*, got ""`)
	case text == "*":
		return errors.New(`want a pattern that names something, such as utm_*, got "*"; name in keep what counts, or leave keep empty to keep all`)
	case strings.Count(text, "*") > 1:
		return fmt.Errorf("want at most one *, got %q", clip(text))
	case at >= 0:
		return fmt.Errorf("want the name of a parameter without %q, got %q; write the name alone", text[at], clip(text))
	}
	if decoded, err := url.PathUnescape(text); err == nil && decoded != text {
		return fmt.Errorf("want the name of a parameter without percent-encoding, got %q; write the characters themselves", clip(text))
	}
	return nil
}

// parseMediaPattern wants a media range (RFC 9110, section 12.5.1) without
// parameters, in which the type may be a * and the subtype a * or *+suffix.
func parseMediaPattern(text string) (string, error) {
	pattern := strings.ToLower(text)
	if pattern, _, found := strings.Cut(pattern, ";"); found {
		return "", fmt.Errorf("want a media type without parameters, got %q; write %s", clip(text), clip(strings.TrimSpace(pattern)))
	}
	kind, subtype, _ := strings.Cut(pattern, "/")
	named := func(text string) bool { return isToken(text) && !strings.Contains(text, "*") }
	if kind != "*" && !named(kind) || subtype != "*" && !named(strings.TrimPrefix(subtype, "*+")) {
		return "", fmt.Errorf("want a media type such as text/html, text/* or */*+json, got %q", clip(text))
	}
	return pattern, nil
}

// parseProtocol wants the name of a protocol to upgrade to (RFC 9110, section
// 7.8), without a version. HTTP/2 by way of h2c would pass requests that nobody
// here has read.
func parseProtocol(text string) (string, error) {
	protocol := strings.ToLower(text)
	switch {
	case protocol == "h2c":
		return "", errors.New("h2c is never passed on; remove it")
	case !isToken(protocol):
		return "", fmt.Errorf("want the name of a protocol, got %q; write websocket", clip(text))
	}
	return protocol, nil
}

func checkKeyPrefix(text string) error {
	if text == "" || len(text) > 64 || !madeOf(text, "._-:/") {
		return fmt.Errorf("want 1 to 64 letters, digits, '.', '_', '-', ':' and '/', got %q", clip(text))
	}
	return nil
}

// checkServerName wants a name that a certificate can hold (RFC 9525, section
// 6.1), or none.
func checkServerName(text string) error {
	switch {
	case text == "" || validHost(text):
		return nil
	case checkAddress(text, false, exampleAddress) == nil:
		host, _, _ := net.SplitHostPort(text)
		return fmt.Errorf("want a host without a port, got %q; write %s", clip(text), clip(host))
	}
	return fmt.Errorf("want a host name or an IP address, got %q; write name.internal", clip(text))
}

// checkLine wants what fits on one line. It may be a secret, so the fault does
// not show it.
func checkLine(text string) error {
	if at := strings.IndexFunc(text, unicode.IsControl); at >= 0 {
		return fmt.Errorf("want a text without control characters, got one after %d bytes; write it on one line, without | or >", at)
	}
	return nil
}

func parseKeyPart(text string) (KeyPart, error) {
	kind, name, named := strings.Cut(text, ":")
	switch kind := PartKind(kind); kind {
	case PartScheme, PartHost, PartPath, PartQuery:
		if !named {
			return KeyPart{Kind: kind}, nil
		}
	case PartHeader:
		if isToken(name) {
			return KeyPart{Kind: kind, Name: textproto.CanonicalMIMEHeaderKey(name)}, nil
		}
	case PartCookie:
		if isToken(name) {
			return KeyPart{Kind: kind, Name: name}, nil
		}
	}
	return KeyPart{}, fmt.Errorf("want scheme, host, path, query, header:Name or cookie:Name, got %q", clip(text))
}

// isToken follows RFC 9110, section 5.6.2.
func isToken(text string) bool {
	return text != "" && madeOf(text, "!#$%&'*+-.^_`|~")
}

// madeOf reports whether text holds only ASCII letters, digits and others.
func madeOf(text, others string) bool {
	for _, r := range text {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
		if !letter && !strings.ContainsRune(others, r) {
			return false
		}
	}
	return true
}
