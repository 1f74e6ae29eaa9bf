package origin

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// FromQuery returns a script in which each request's query changes the answer
// that is given by default:
//
//	status=503  size=100000  framing=length|chunked|close
//	delay=200ms spread=0.5   chunk=1000   pause=10ms
//	cut=5000    end=keep|close|drop|reset   h=Cache-Control:max-age=60
//
// h may be repeated. Names that are not known are left alone, so that keys may
// carry more; a value that cannot be read is answered with 400.
func FromQuery(byDefault Answer) Script {
	return func(r Request) Answer {
		query := r.query()
		if query == "" {
			return byDefault
		}
		a, err := fromQuery(byDefault, query)
		if err != nil {
			return Answer{Status: 400, Body: []byte(err.Error() + "\n")}
		}
		return a
	}
}

func fromQuery(a Answer, query string) (Answer, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return a, fmt.Errorf("query: %w", err)
	}
	for name, vs := range values {
		for _, v := range vs {
			if err := a.set(name, v); err != nil {
				return a, fmt.Errorf("%s=%s: %w", name, v, err)
			}
		}
	}
	return a, nil
}

var (
	framings = map[string]Framing{"length": Length, "chunked": Chunked, "close": UntilClose}
	endings  = map[string]Ending{"keep": KeepAlive, "close": Close, "drop": Drop, "reset": Reset}
)

func (a *Answer) set(name, v string) (err error) {
	switch name {
	case "status":
		a.Status, err = number(v, 200, 599)
	case "size":
		a.Size, err = bytesOf(v)
	case "delay":
		a.Delay, err = time.ParseDuration(v)
	case "spread":
		a.Spread, err = strconv.ParseFloat(v, 64)
		if err != nil || !(a.Spread >= 0 && a.Spread <= 5) {
			err = errors.New("want a number from 0 to 5")
		}
	case "pause":
		a.Pause, err = time.ParseDuration(v)
	case "chunk":
		a.Chunk, err = number(v, 1, 1<<20)
	case "cut":
		a.Cut = true
		a.CutAfter, err = bytesOf(v)
	case "framing":
		a.Framing, err = oneOf(framings, v)
	case "end":
		a.Ending, err = oneOf(endings, v)
	case "h":
		key, value, ok := strings.Cut(v, ":")
		if !ok || key == "" || strings.ContainsAny(v, "\r\n") {
			return errors.New("want Name:value")
		}
		*a = a.With(key, strings.TrimSpace(value))
	}
	return err
}

func number(v string, low, high int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("want a number from %d to %d", low, high)
	}
	return n, nil
}

func bytesOf(v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, errors.New("want a count of bytes")
	}
	return n, nil
}

func oneOf[T any](set map[string]T, v string) (T, error) {
	t, ok := set[v]
	if !ok {
		return t, errors.New("not one of its values")
	}
	return t, nil
}
