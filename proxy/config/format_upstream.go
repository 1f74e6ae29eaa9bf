package config

import (
	"errors"
	"fmt"
	"net/textproto"
	"path"
	"strconv"
	"strings"
)

// parseServer takes host:port, or unix: and the path of a socket, spelt the one
// way: keys are placed by it.
func parseServer(text string) (string, error) {
	socket, found := strings.CutPrefix(text, "unix:")
	if !found {
		return text, checkAddress(text, false, exampleAddress)
	}
	// The kernel has room for 107 bytes and an end.
	const longest = 107
	switch clean := path.Clean("/" + socket); {
	case clean == "/" || checkLine(socket) != nil:
		return "", fmt.Errorf("want unix: and the path of a socket, got %q; write unix:/run/app.sock", clip(text))
	case clean != socket:
		return "", fmt.Errorf("want unix: and an absolute path without detours, got %q; write unix:%s", clip(text), clip(clean))
	case len(socket) > longest:
		return "", fmt.Errorf("want the path of a socket of at most %d bytes, got %d", longest, len(socket))
	}
	return text, nil
}

// parseSRV takes a name of the form of RFC 2782: _service._protocol.name.
func parseSRV(text string) (string, error) {
	name := strings.ToLower(text)
	labels := strings.SplitN(name, ".", 3)
	underscored := func(label string) bool { return len(label) > 1 && label[0] == '_' && validHost("x"+label) }
	if len(labels) < 3 || !underscored(labels[0]) || !underscored(labels[1]) || !validHost(labels[2]) || isIP(labels[2]) || len(name) > 253 {
		return "", fmt.Errorf("want _service._protocol.name, without a port, got %q; write _http._tcp.app.internal", clip(text))
	}
	return name, nil
}

// parseHashBy takes what BalanceHash and BalanceKetama may place by.
func parseHashBy(text string) (HashBy, error) {
	kind, name, named := strings.Cut(text, ":")
	by := HashBy{Kind: HashKind(kind), Name: name}
	sound := false
	switch by.Kind {
	case HashKey, HashURI, HashPath, HashClient:
		sound = !named
	case HashHeader:
		by.Name = textproto.CanonicalMIMEHeaderKey(name)
		sound = isToken(name)
	case HashCookie:
		sound = isToken(name)
	case HashQuery:
		sound = checkParameter(name) == nil && !strings.Contains(name, "*")
	}
	if !sound {
		return HashBy{}, fmt.Errorf("want %s, got %q", wordsHashBy, clip(text))
	}
	return by, nil
}

// What the leaves with a syntax of their own look like.
const (
	wordsHashBy     = "key, uri, path, client, header:Name, cookie:Name or query:Name"
	wordsRetryCause = "connect, reset, timeout or a status from 400 to 599"
	wordsStatus     = "a status from 100 to 599 or a class (1xx to 5xx)"
)

func parseRetryCause(text string) (RetryCause, error) {
	switch failure := Failure(text); failure {
	case FailureConnect, FailureReset, FailureTimeout:
		return RetryCause{Failure: failure}, nil
	}
	status, err := parseCount("", text)
	if err != nil || status < 400 || status > 599 {
		return RetryCause{}, fmt.Errorf("want %s, got %q", wordsRetryCause, clip(text))
	}
	return RetryCause{Status: status}, nil
}

func parseStatus(text string) (Status, error) {
	if len(text) == 3 && text[1:] == "xx" && '1' <= text[0] && text[0] <= '5' {
		return Status(text[0] - '0'), nil
	}
	status, err := parseCount("", text)
	if err != nil || status < 100 || status > 599 {
		return 0, fmt.Errorf("want %s, got %q", wordsStatus, clip(text))
	}
	return Status(status), nil
}

// String returns the status as a file writes it: 200, or 2xx.
func (s Status) String() string {
	if s <= 5 {
		return strconv.Itoa(int(s)) + "xx"
	}
	return strconv.Itoa(int(s))
}

// checkMethod wants a method (RFC 9110, section 9.1) that a check can ask with.
func checkMethod(text string) error {
	upper := strings.ToUpper(text)
	switch {
	case !isToken(text):
		return fmt.Errorf("want a method such as GET, HEAD or OPTIONS, got %q", clip(text))
	case upper != text:
		return fmt.Errorf("want a method in capitals, got %q; write %s", clip(text), clip(upper))
	case text == "CONNECT":
		return errors.New("CONNECT asks for a tunnel and not for a path; write type: tcp")
	}
	return nil
}

// parseFieldName takes the name of a field that a check may have beside those
// that it writes itself.
func parseFieldName(text string) (string, error) {
	if !isToken(text) {
		return "", fmt.Errorf("want the name of a header field, got %q", clip(text))
	}
	switch name := textproto.CanonicalMIMEHeaderKey(text); name {
	case "Host":
		return "", fmt.Errorf("%s is an option of its own; write host: NAME beside headers", name)
	case "Connection", "Content-Length", "Expect", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return "", fmt.Errorf("%s is for the connection and the framing, which the check sees to; remove it", name)
	default:
		return name, nil
	}
}

// checkExcerpt wants a text that a check can find in what it reads.
func checkExcerpt(text string) error {
	const longest = 1024
	if len(text) > longest {
		return fmt.Errorf("want at most %d bytes, got %d", longest, len(text))
	}
	return nil
}
