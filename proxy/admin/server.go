package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// The bounds of the surface: connections at a time, the head and the body of a
// request, and how long each of its parts may take. An event may take longer than
// an answer: see the hub.
const (
	maxConnections = 256
	maxHead        = 16 << 10
	maxBody        = 1 << 20

	headTime  = 10 * time.Second
	readTime  = 30 * time.Second
	writeTime = 90 * time.Second
	idleTime  = 2 * time.Minute
	closeTime = time.Second
)

// Server is the surface. Its methods may be called concurrently.
type Server struct {
	o    Options
	hub  *hub
	mux  *http.ServeMux
	http *http.Server

	connections atomic.Int64
	refused     atomic.Uint64 // connections beyond the most
	retired     atomic.Bool
}

// New returns the surface; openapi.yaml describes it. It starts no goroutine.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, mux: http.NewServeMux()}
	s.hub = newHub(s.event)
	resources := make(map[string]resource)
	for _, r := range s.routes() {
		if resources[r.path] == nil {
			resources[r.path] = make(resource)
		}
		resources[r.path][r.method] = r
	}
	for path, r := range resources {
		if strings.HasSuffix(path, "/") {
			path += "{$}"
		}
		s.mux.Handle(path, r)
	}
	s.http = &http.Server{
		Handler: s, ReadHeaderTimeout: headTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHead, ConnState: s.count, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers those who connect to l, with TLS where it is not nil, until Close;
// it closes l. The error says why it has ended by itself.
func (s *Server) Serve(l net.Listener, t *tls.Config) error {
	if t != nil {
		l = tls.NewListener(l, t)
	}
	err := s.http.Serve(l)
	if errors.Is(err, http.ErrServerClosed) || s.retired.Load() {
		return nil
	}
	return err
}

// Close ends the streams of events, lets other requests end for up to a second,
// and closes all connections. It may be called without Serve.
func (s *Server) Close() error {
	s.hub.close()
	if s.retired.Load() {
		s.awaitLast()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if s.http.Shutdown(ctx) == nil {
		return nil
	}
	return s.http.Close()
}

// Retire ends the streams of events, and makes each answer the last of its
// connection. The caller closes the listener then, which is no error to Serve. It may
// be called from a request; Close comes after it.
func (s *Server) Retire() {
	s.retired.Store(true)
	s.hub.close()
}

// retireTime is how long those who are connected may take to ask, after Retire:
// net/http answers nobody any more once it shuts down.
const retireTime = 500 * time.Millisecond

// awaitLast waits until nobody is connected, or retireTime is over.
func (s *Server) awaitLast() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(retireTime); s.connections.Load() > 0 && time.Now().Before(end); {
		<-tick.C
	}
}

// count bounds the connections. It implements http.Server.ConnState.
func (s *Server) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if s.connections.Add(1) > maxConnections {
			s.refused.Add(1)
			// The server finds it closed, and gives it up.
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.connections.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if s.retired.Load() {
		h.Set("Connection", "close")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	handler, _ := s.mux.Handler(r)
	what, known := handler.(resource)
	if d := s.o.Access.judge(r, what.route(r.Method)); d.status != 0 {
		if d.status == http.StatusUnauthorized {
			h["Www-Authenticate"] = challenges(r)
		}
		refuse(w, d.status, d.why)
		return
	}
	if !known {
		refuse(w, http.StatusNotFound, "there is nothing here; /api/openapi.yaml names what there is")
		return
	}
	s.mux.ServeHTTP(w, r)
}

// resource is what there is under one path, by method.
type resource map[string]route

// route is what a method asks for; the zero value where there is none of it.
func (res resource) route(method string) route {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return res[method]
}

// ServeHTTP implements http.Handler.
func (res resource) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if of := res.route(r.Method); of.serve != nil {
		of.serve(w, r)
		return
	}
	var allowed []string
	for method := range res {
		if allowed = append(allowed, method); method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	refuse(w, http.StatusMethodNotAllowed, "want "+strings.Join(allowed, " or "))
}
