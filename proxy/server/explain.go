package server

import (
	"context"
	"errors"
	"log/slog"

	"ringfence/proxy"
	"ringfence/proxy/config"
)

// Explain says what a proxy with this configuration would do with a request at
// its start, when nothing is stored and all servers are well; see
// [proxy.NewQuestion]. It opens no socket and asks nobody: servers that stand in a
// name service are not known. The configuration must be valid.
func Explain(cfg config.Config, method, url string, fields []string, client string) (x proxy.Explanation, err error) {
	q, err := proxy.NewQuestion(method, url, fields, client)
	if err != nil {
		return x, err
	}
	pools, _, err := newPools(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return x, err
	}
	for _, p := range pools {
		defer p.Close()
	}
	opts, err := handlerOptions(cfg, pools, slog.New(slog.DiscardHandler))
	if err != nil {
		return x, err
	}
	// Nothing will be stored, here or in a fleet.
	opts.Shared, opts.Memory, opts.MaxObject, opts.IndexEntries = nil, 1<<20, 1, 1<<10
	h, err := proxy.New(opts)
	if err != nil {
		return x, err
	}
	defer func() { err = errors.Join(err, h.Close(context.Background())) }()
	x = h.Explain(atEntrance(q, cfg))
	x.Live = false
	return x, nil
}

// explain asks the running handler.
func (s *Server) explain(q proxy.Question) proxy.Explanation {
	return s.handler.Explain(atEntrance(q, s.now.Load().cfg))
}

// atEntrance has the request come in by the first listener for its scheme.
// Without one it comes by none in particular.
func atEntrance(q proxy.Question, cfg config.Config) proxy.Question {
	q.Limits = limitsOf(cfg.Server)
	for _, l := range cfg.Listeners {
		if q.Secure() == (len(l.TLS.Certificates) > 0) {
			q.Site.RedirectToHTTPS = l.RedirectToHTTPS
			break
		}
	}
	return q
}
