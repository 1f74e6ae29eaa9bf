package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// deriveListeners makes of the short form the one listener that it stands for.
func deriveListeners(d *decoder, c *Config) {
	switch {
	case !d.written("listeners"):
		c.Listeners = []Listener{{Address: c.Listen}}
	case !d.written("listen"):
		c.Listen = ""
	}
}

// listenerAddressPath is where the address of a listener is written.
func listenerAddressPath(d *decoder, i int) string {
	if !d.written("listeners") {
		return "listen"
	}
	return fmt.Sprintf("listeners[%d].address", i)
}

// validateListeners wants listeners in one form, each with an address of its
// own, and nothing said that would have no effect.
func validateListeners(d *decoder, c Config) {
	if d.written("listeners") {
		if d.written("listen") {
			d.faultAt("listen", "listeners is written, too; remove one of them")
		}
		if d.sound("listeners") && len(c.Listeners) == 0 {
			d.faultAt("listeners", "is empty; write listeners: [{address: 127.0.0.1:8443}], or remove the line")
		}
	}
	seen := make(map[string]string)
	for i, l := range c.Listeners {
		path := listenerAddressPath(d, i)
		if d.sound(path) && l.Address != "" && !strings.HasSuffix(l.Address, ":0") {
			if first, taken := seen[l.Address]; taken {
				d.faultAt(path, "%s is taken%s; give this listener its own port", l.Address, d.atLine(first))
			}
			seen[l.Address] = path
			validateAdminAddress(d, path, c.Admin.Listen == l.Address)
		}
		validateListener(d, fmt.Sprintf("listeners[%d]", i), l)
	}
}

// validateAdminAddress wants the admin surface to have an address of its own;
// same says that it has that of the listener at path.
func validateAdminAddress(d *decoder, path string, same bool) {
	switch {
	case !same || !d.sound("admin.listen"):
	case d.written("admin.listen"):
		d.faultAt("admin.listen", "is the same address as %s; give it its own port", path)
	default:
		d.faultAt(path, "is the default of admin.listen; give one of them another port")
	}
}

func validateListener(d *decoder, path string, l Listener) {
	if d.written(path + ".tls") {
		validateListenerTLS(d, path+".tls", l.TLS)
		if redirect := path + ".redirect_to_https"; d.sound(redirect) && l.RedirectToHTTPS != 0 {
			d.faultAt(redirect, "means nothing with tls, which is https already; remove it")
		}
		if h2c := path + ".h2c"; d.sound(h2c) && l.H2C {
			d.faultAt(h2c, "means nothing with tls, where HTTP/2 is tls.http2; remove it")
		}
	} else if d.written(path + ".hsts") {
		d.faultAt(path+".hsts", "means nothing without tls; remove it, or write tls: {certificates: [{cert_file: cert.pem, key_file: key.pem}]}")
	}
	if _, port, _ := net.SplitHostPort(l.Address); d.sound(path) && l.RedirectToHTTPS != 0 && port == strconv.Itoa(l.RedirectToHTTPS) {
		d.faultAt(path+".redirect_to_https", "is the port of this listener; write that of a listener with tls, or of whoever speaks TLS before this one")
	}
	validateHSTS(d, path+".hsts", l.HSTS)
	validateDistinct(d, path+".proxy_protocol.from", l.ProxyProtocol.From)
}

func validateListenerTLS(d *decoder, path string, t ListenerTLS) {
	seen := make(map[Certificate]string)
	for i, c := range t.Certificates {
		certificate := fmt.Sprintf("%s.certificates[%d]", path, i)
		if first, taken := seen[c]; taken && d.sound(certificate, first) {
			d.faultAt(certificate, "is the same as the one%s; remove one of them", d.atLine(first))
		}
		seen[c] = certificate
	}
}

// preloadAge is the least that the lists of browsers take.
const preloadAge = 365 * 24 * time.Hour

func validateHSTS(d *decoder, path string, h HSTS) {
	age := path + ".max_age"
	if d.sound(age) && h.MaxAge%time.Second != 0 {
		d.faultAt(age, "want whole seconds, got %v", h.MaxAge)
	}
	if preload := path + ".preload"; d.sound(path) && h.Preload && (h.MaxAge < preloadAge || !h.IncludeSubdomains) {
		d.faultAt(preload, "needs include_subdomains: on and a max_age of 8760h or more")
	}
}
