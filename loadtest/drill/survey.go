package drill

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// survey says which server each key is at, by its id: it asks for one after the
// other, so that no server has too much to do for one more.
func (f *farm) survey(ctx context.Context) ([keyCount]string, error) {
	var homes [keyCount]string
	t := &http.Transport{}
	defer t.CloseIdleConnections()
	for key := range homes {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.proxy.addr+"/"+strconv.Itoa(key), nil)
		if err != nil {
			return homes, err
		}
		req.Host = host
		req.Header.Set("Cache-Control", "no-cache") // who has it stored is not asked
		resp, err := t.RoundTrip(req)
		if err != nil {
			return homes, fmt.Errorf("survey: %w", err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if homes[key] = resp.Header.Get("X-Served-By"); err != nil || homes[key] == "" {
			return homes, fmt.Errorf("survey: key %d: status %d of server %q: %w", key, resp.StatusCode, homes[key], err)
		}
	}
	return homes, nil
}

// keysOf is how many keys are at a server.
func keysOf(homes [keyCount]string, server string) (n int) {
	for _, home := range homes {
		if home == server {
			n++
		}
	}
	return n
}

// moved counts the keys of one server, and of all others, that are elsewhere
// now.
func moved(before, now [keyCount]string, server string) (own, others int) {
	for key := range before {
		switch before[key] {
		case now[key]:
		case server:
			own++
		default:
			others++
		}
	}
	return own, others
}

// onlyItsOwnMoved requires that of all keys just those of one server are
// elsewhere.
func (f *farm) onlyItsOwnMoved(before, now [keyCount]string, server string) {
	own, others := moved(before, now, server)
	f.require("keys that moved meanwhile", fmt.Sprintf("its own %d (a fifth is %d)", keysOf(before, server), keyCount/len(serverNames)),
		fmt.Sprintf("%d, and %d of others", own, others), own == keysOf(before, server) && others == 0)
}

// allAreBack requires that all keys are where they were.
func (f *farm) allAreBack(ctx context.Context, before [keyCount]string) error {
	now, err := f.survey(ctx)
	if err != nil {
		return err
	}
	own, others := moved(before, now, "")
	f.exactly("in the end: keys that are not where they were", own+others, 0)
	return nil
}

// strays is the part of some requests that was answered by another server than
// their key's.
func (f *farm) strays(what string, some shots, homes [keyCount]string) {
	n := len(some.where(func(s *shot) bool { return s.by != "" && s.by != homes[s.key] }))
	f.note(what, fmt.Sprintf("%.1f %%", 100*float64(n)/float64(max(len(some), 1))))
}
