package config

import (
	"fmt"
	"net/textproto"
	"strings"

	"ringfence/proxy/wire"
)

// parseIDField takes the name of a field that has no other meaning.
func parseIDField(text string) (string, error) {
	if text == "" || text == "off" {
		return "", nil
	}
	const usual = "X-Request-Id"
	name := textproto.CanonicalMIMEHeaderKey(text)
	if !isToken(text) || strings.Contains(text, "_") || name != usual && (wire.IsHopByHop(name) || wire.IsProtected(name)) {
		return "", fmt.Errorf("want a field for ids alone, such as X-Request-Id or X-Correlation-Id, or off, got %q", clip(text))
	}
	return name, nil
}

// parseUnkeyedField takes the name of a field that a route does not pass on
// unless it is told to.
func parseUnkeyedField(text string) (string, error) {
	role := wire.RoleOf(text)
	switch {
	case !isToken(text) || strings.Contains(text, "_") && role != wire.Plain:
		return "", fmt.Errorf("want the name of a field such as X-HTTP-Method-Override, got %q", clip(text))
	case role == wire.Plain:
		return "", fmt.Errorf("%s is not held back; remove it", clip(text))
	case role != wire.Unkeyed:
		return "", fmt.Errorf("%s is written by the proxy itself; remove it", clip(text))
	}
	return textproto.CanonicalMIMEHeaderKey(text), nil
}
