package admin

import (
	"cmp"
	"embed"
	"net/http"
	"path"
)

// pageFiles are the page: nothing of it comes from elsewhere.
//
//go:embed page
var pageFiles embed.FS

// pagePolicy lets the page run its own scripts, speak to its own origin, and make
// no markup of texts (Content Security Policy Level 3, Trusted Types).
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// page serves a file of the page. It says nothing of the instance, so anybody may
// have it: its script asks for the token.
func page(w http.ResponseWriter, r *http.Request) {
	name := cmp.Or(r.PathValue("file"), "index.html")
	text, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		refuse(w, http.StatusNotFound, "the page has no such file")
		return
	}
	h := w.Header()
	h.Set("Content-Type", map[string]string{
		".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	}[path.Ext(name)])
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	// A write error means that the client has gone.
	_, _ = w.Write(text)
}
