package admin

import (
	"encoding/json"
	"io"
	"net/http"
)

// problem is what is answered in place of what was asked for (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// refuse says why there is nothing else to say.
func refuse(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	write(w, status, problem{http.StatusText(status), status, detail})
}

// answer writes JSON for programs and for people.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	write(w, status, v)
}

func write(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	// A write error means that the client has gone.
	_ = enc.Encode(v)
}

// say writes text.
func say(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	// A write error means that the client has gone.
	_, _ = io.WriteString(w, text+"\n")
}
