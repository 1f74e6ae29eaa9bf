package server

import (
	"os"
	"time"

	"ringfence/proxy/config"
)

// Warn logs what is doubtful in a configuration that counts from now on.
func (s *Server) Warn(doc config.Document) {
	for _, w := range config.Warnings(doc, time.Now(), os.ReadFile) {
		s.log.Warn("doubtful configuration", "kind", string(w.Kind), "warning", w.String())
	}
}
