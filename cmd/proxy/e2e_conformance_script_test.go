package main_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// old is a Last-Modified of long ago.
const old = "Sun, 06 Nov 1994 08:49:37 GMT"

// date is an HTTP-date some time from now.
func date(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }

// coded is an answer with that status and fields.
func coded(status int, fields ...string) origin.Answer {
	a := origin.Answer{Status: status}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		a = a.With(name, strings.TrimPrefix(value, " "))
	}
	return a
}

func ok200(fields ...string) origin.Answer { return coded(200, fields...) }

// raw is an answer of these head lines, byte for byte, without a Date unless it
// is among them. Its body is x.
func raw(head ...string) origin.Answer {
	return origin.Answer{Raw: []byte(strings.Join(head, "\r\n") + "\r\nContent-Length: 1\r\n\r\nx")}
}

// hangUp is the answer of an origin that dies over it.
func hangUp() origin.Answer { return origin.Answer{Raw: []byte{}, Ending: origin.Drop} }

// filled gives the answer a body.
func filled(a origin.Answer, body string) origin.Answer {
	a.Body = []byte(body)
	return a
}

// each200 answers every request with 200 and these fields.
func each200(fields ...string) script { return inTurn(ok200(fields...)) }

// inTurn gives one answer after the other, and the last from then on.
func inTurn(answers ...origin.Answer) script {
	return func(n int, _ origin.Request) origin.Answer { return answers[min(n, len(answers))-1] }
}

// validating answers 304 with confirmed's fields where the request asks
// whether what it knows still stands, and whole otherwise.
func validating(whole, confirmed origin.Answer) script {
	confirmed.Status = 304
	return func(_ int, r origin.Request) origin.Answer {
		if r.Get("If-None-Match") != "" || r.Get("If-Modified-Since") != "" {
			return confirmed
		}
		return whole
	}
}

// byMethod answers what is no GET with other.
func byMethod(get, other origin.Answer) script {
	return func(_ int, r origin.Request) origin.Answer {
		if r.Method == "GET" {
			return get
		}
		return other
	}
}

// twice is a case of a GET that is repeated: the second reaches the origin, or
// is cached.
func twice(name string, cached bool, fields ...string) conformanceCase {
	return conformanceCase{name: name, script: each200(fields...), steps: []step{{}, {cached: cached}}}
}

// hasAge fails where the answer has not one Age that is a number.
func hasAge(t *testing.T, r reply) {
	if _, err := strconv.ParseUint(r.header.Get("Age"), 10, 31); err != nil || len(r.header["Age"]) != 1 {
		t.Errorf("Age is %q", r.header["Age"])
	}
}

// hasDate fails where the answer has not one Date of these minutes.
func hasDate(t *testing.T, r reply) {
	d, err := http.ParseTime(r.header.Get("Date"))
	if err != nil || len(r.header["Date"]) != 1 || time.Since(d).Abs() > time.Minute {
		t.Errorf("Date is %q", r.header["Date"])
	}
}

// young fails where the answer is older than these seconds.
func young(t *testing.T, r reply) {
	if age, err := strconv.Atoi(r.header.Get("Age")); err != nil || age > 30 {
		t.Errorf("Age is %q", r.header["Age"])
	}
}
