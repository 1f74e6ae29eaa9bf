package admin

import (
	_ "embed"
	"net/http"
)

// openAPI describes the surface (OpenAPI 3.1).
//
//go:embed openapi.yaml
var openAPI []byte

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	// A write error means that the client has gone.
	_, _ = w.Write(openAPI)
}
