package main_test

import (
	"fmt"
	"strings"
	"time"
)

// lifetimeCases say how long an answer is fresh, and how old it is (RFC 9111,
// sections 4.2.1, 4.2.3, 5.1 and 5.2).
func lifetimeCases() []conformanceCase {
	const s = time.Second
	past, soon, later := "Expires: "+date(-time.Hour), "Expires: "+date(100*s), "Expires: "+date(time.Hour)
	now := "Date: " + date(0)
	aged := func(age string, cached bool) conformanceCase {
		return twice("Age: "+age, cached, "Cache-Control: max-age=3600", "Age: "+strings.ReplaceAll(age, " and ", "\r\nAge: "))
	}
	control := func(value string, cached bool) conformanceCase {
		return twice(value, cached, "Cache-Control: "+strings.ReplaceAll(value, " and ", "\r\nCache-Control: "))
	}
	return sections(map[string][]conformanceCase{
		"RFC 9111 §4.2.1": {
			control("max-age=60", true), control("max-age=0", false), control("s-maxage=60", true), control("s-maxage=0", false),
			control("s-maxage=60, max-age=0", true), control("max-age=0, s-maxage=60", true), control("max-age=0 and s-maxage=60", true),
			control("max-age=60, s-maxage=0", false), control("s-maxage=0, max-age=60", false), control("max-age=60 and s-maxage=0", false),
			twice("Expires", true, now, soon), twice("Expires past", false, now, past), twice("Expires now", false, now, "Expires: "+date(0)),
			twice("max-age over Expires past", true, now, "Cache-Control: max-age=60", past),
			twice("max-age over Expires: 0", true, now, "Cache-Control: max-age=60", "Expires: 0"),
			twice("max-age=0 over Expires", false, now, "Cache-Control: max-age=0", later),
			twice("s-maxage over Expires past", true, now, "Cache-Control: s-maxage=60", past),
			twice("Expires counts from Date, both fast", true, "Date: "+date(time.Hour), "Expires: "+date(time.Hour+100*s)),
			twice("Expires before Date, both fast", false, "Date: "+date(400*s), "Expires: "+date(300*s)),
			twice("Expires counts from Date, both slow", false, "Date: "+date(-time.Hour), "Expires: "+date(-time.Hour+100*s)),
			twice("Expires counts from arrival where Date is no date", true, "Date: nonsense", soon),
			{name: "Expires counts from arrival without Date", script: inTurn(raw("HTTP/1.1 200 OK", soon)), steps: []step{
				{}, {cached: true, check: hasDate}}},
			{name: "max-age counts from arrival without Date", script: inTurn(raw("HTTP/1.1 200 OK", "Cache-Control: max-age=60")), steps: []step{
				{check: hasDate}, {cached: true, check: hasDate}}},
			control("max-age=60, max-age=60", true),
			control("max-age=60, max-age=0", false), control("max-age=0, max-age=60", false),
			control("max-age=60 and max-age=0", false), control("max-age=0 and max-age=60", false),
			control("s-maxage=60, s-maxage=0", false), control("s-maxage=0, s-maxage=60", false),
			twice("Expires twice, past first", false, now, past, soon),
			twice("Expires twice, past last", false, now, soon, past),
			twice("max-age that is none over Expires", false, now, "Cache-Control: max-age=x", soon),
			control("s-maxage=x, max-age=60", false), control("max-age=x, s-maxage=60", true),
		},
		"RFC 9111 §1.2.2": {
			control("max-age=2147483648", true), control("max-age=99999999999", true), control("max-age=99999999999999999999999999", true),
			control("max-age=00060", true), control("max-age=-60", false), control("max-age=60.0", false), control("max-age=60.5", false),
			control("max-age=x60", false), control("max-age=60x", false), control("max-age=6 0", false), control("max-age=", false),
			control("max-age", false), control("max-age=+60", false), control("max-age=0x60", false), control("max-age=1e3", false),
		},
		"RFC 9111 §5.2": {
			control("MaX-aGe=60", true), control("frob, max-age=60", true), control("max-age=60, frob=1", true), control(`frob="a, b", max-age=60`, true),
			control("max-age='60'", false), control(`max-age="60"`, false), control(`max-age="6x"`, false), control(`max-age="0"`, false), control(`max-age="60`, false),
			control("max-age =60", false), control("max-age= 60", false), control("max-age = 60", false), control("max-age=60; public", false),
			control(`frob="max-age=60"`, false), control(`frob="max-age=60", max-age=0`, false), control(`max-age=0, frob="max-age=60"`, false),
			control(`frob="a\", max-age=60"`, false), control(`frob="max-age=0", max-age=60`, true),
			control(", ,max-age=60,,", true), control("max-age=60\t,\tpublic", true), control("public and max-age=60", true),
			control(" and max-age=60", true), control("xmax-age=60", false), control("max-age:60", false),
		},
		"RFC 9111 §5.1": {
			aged("abc", true), aged("-7200", true), aged("7200.0", true), aged("7200x", true), aged("72 00", true), aged("", true),
			aged("7200", false), aged("3600", false), aged("0050", true), aged("1800", true),
			aged("7200,0", false), aged("7200 and 0", false), aged("0,7200", true), aged("0 and 7200", true),
			aged("0, 0", true), aged("0 and 0", true), aged("7200, 7200", false), aged("7200 and 7200", false),
			aged("2147483648", false), aged("99999999999999999999", false),
			twice("Age over the longest lifetime", false, "Cache-Control: max-age=99999999999", "Age: 99999999999"),
		},
		"RFC 9111 §4.2.3": {
			{name: "Age counts", script: each200("Age: 50", "Cache-Control: max-age=100"), steps: []step{{age: 50}, {cached: true, age: 50}}},
			{name: "Age counts with Expires", script: each200("Age: 50", now, soon), steps: []step{{}, {cached: true, age: 50}}},
			twice("Age ends Expires, Date slow", false, "Date: "+date(-10*s), "Expires: "+date(10*s), "Age: 25"),
			twice("Age ends Expires, Date fast", false, "Date: "+date(10*s), "Expires: "+date(20*s), "Age: 15"),
			{name: "a Date of the past is age", script: each200("Date: "+date(-50*s), "Cache-Control: max-age=100"), steps: []step{{}, {cached: true, age: 50}}},
			twice("a Date of the past ends it", false, "Date: "+date(-150*s), "Cache-Control: max-age=100"),
			{name: "the larger of Age and Date counts", script: each200("Date: "+date(-20*s), "Age: 70", "Cache-Control: max-age=100"), steps: []step{{}, {cached: true, age: 70}}},
			twice("a Date of the future is no age", true, "Date: "+date(time.Hour), "Cache-Control: max-age=100"),
		},
		"RFC 9111 §4": {
			{name: "a hit has an Age", script: each200("Cache-Control: max-age=60"), steps: []step{{}, {cached: true, check: hasAge}}},
			{name: "a hit has the origin's Date", script: each200("Date: "+old, "Cache-Control: max-age=4000000000"), steps: []step{
				{has: lines{"Date: " + old}}, {cached: true, has: lines{"Date: " + old}, check: hasAge}}},
			{name: "an Age is one number", script: each200("Age: 10, 20", "Cache-Control: max-age=60"), steps: []step{{}, {cached: true, age: 10, check: hasAge}}},
		},
	})
}

// dateCases say what is a date (RFC 9110, section 5.6.7) by what becomes of an
// Expires.
func dateCases() []conformanceCase {
	later := time.Now().Add(48 * time.Hour).UTC()
	imf := later.Format("Mon, 02 Jan 2006 15:04:05 GMT")
	day, month := imf[:3], imf[8:11]
	var cases []conformanceCase
	for name, tt := range map[string]struct {
		value  string
		cached bool
	}{
		"IMF-fixdate":          {imf, true},
		"RFC 850":              {later.Format("Monday, 02-Jan-06 15:04:05 GMT"), true},
		"asctime":              {later.Format("Mon Jan _2 15:04:05 2006"), true},
		"weekday in capitals":  {strings.Replace(imf, day, strings.ToUpper(day), 1), true},
		"month in capitals":    {strings.Replace(imf, month, strings.ToUpper(month), 1), true},
		"month in small":       {strings.Replace(imf, month, strings.ToLower(month), 1), true},
		"zone in mixed case":   {strings.Replace(imf, "GMT", "gMt", 1), true},
		"the last year":        {"Fri, 31 Dec 9999 23:59:59 GMT", true},
		"UTC":                  {strings.Replace(imf, "GMT", "UTC", 1), false},
		"an offset":            {strings.Replace(imf, "GMT", "+0000", 1), false},
		"no zone":              {strings.TrimSuffix(imf, " GMT"), false},
		"two-digit year":       {later.Format("Mon, 02 Jan 06 15:04:05 GMT"), false},
		"no comma":             {strings.Replace(imf, ",", "", 1), false},
		"no weekday":           {imf[5:], false},
		"doubled spaces":       {later.Format("Mon, 02  Jan  2006 15:04:05 GMT"), false},
		"dashes":               {later.Format("Mon, 02-Jan-2006 15:04:05 GMT"), false},
		"dots":                 {later.Format("Mon, 02 Jan 2006 15.04.05 GMT"), false},
		"one-digit hour":       {later.Format("Mon, 02 Jan 2006 ") + "2:04:05 GMT", false},
		"one-digit day":        {fmt.Sprintf("Fri, 1 Jan %d 00:00:00 GMT", later.Year()+2), false},
		"hour 24":              {later.Format("Mon, 02 Jan 2006 ") + "24:00:00 GMT", false},
		"minute 60":            {later.Format("Mon, 02 Jan 2006 ") + "10:60:00 GMT", false},
		"30 February":          {fmt.Sprintf("Fri, 30 Feb %d 00:00:00 GMT", later.Year()+2), false},
		"trailing text":        {imf + " x", false},
		"ISO 8601":             {later.Format(time.RFC3339), false},
		"seconds":              {fmt.Sprint(later.Unix()), false},
		"zero":                 {"0", false},
		"minus one":            {"-1", false},
		"empty":                {"", false},
		"a word":               {"never", false},
		"RFC 850, a past year": {"Sunday, 06-Nov-94 08:49:37 GMT", false},
	} {
		c := twice("Expires as "+name, tt.cached, "Date: "+date(0), "Expires: "+tt.value)
		c.section = "RFC 9110 §5.6.7"
		cases = append(cases, c)
	}
	return cases
}

// heuristicCases say for what a lifetime is guessed (RFC 9111, section 4.2.2).
func heuristicCases() []conformanceCase {
	var cases []conformanceCase
	guessed := func(status int, cached bool, fields ...string) {
		name := fmt.Sprintf("a %d with Last-Modified", status)
		if len(fields) > 0 {
			name += ", " + fields[0]
		}
		cases = append(cases, conformanceCase{section: "RFC 9111 §4.2.2", name: name,
			script: inTurn(coded(status, append(fields, "Last-Modified: "+date(-24*time.Hour))...)),
			steps:  []step{{status: status}, {status: status, cached: cached}}})
	}
	for _, status := range []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501} {
		guessed(status, true)
	}
	for _, status := range []int{201, 202, 299, 302, 303, 307, 400, 403, 418, 500, 502, 503, 504, 599} {
		guessed(status, false)
	}
	for _, status := range []int{201, 302, 403, 500, 599} {
		guessed(status, true, "Cache-Control: public")
	}
	ago := func(d time.Duration, age int, cached bool) conformanceCase {
		return twice(fmt.Sprintf("modified %s before Date, %d s old", d, age), cached,
			"Date: "+date(0), "Last-Modified: "+date(-d), fmt.Sprintf("Age: %d", age))
	}
	return append(cases, sections(map[string][]conformanceCase{
		"RFC 9111 §4.2.2": {
			ago(1000*time.Second, 50, true), ago(1000*time.Second, 150, false),
			ago(2400*time.Hour, 80_000, true), ago(2400*time.Hour, 90_000, false),
			twice("Last-Modified that is no date", false, "Last-Modified: yesterday"),
			twice("Last-Modified after Date", false, "Date: "+date(0), "Last-Modified: "+date(time.Hour)),
			twice("Last-Modified and max-age=0", false, "Last-Modified: "+old, "Cache-Control: max-age=0"),
			twice("Last-Modified and Expires: 0", false, "Last-Modified: "+old, "Expires: 0"),
			twice("Last-Modified and private", false, "Last-Modified: "+old, "Cache-Control: private"),
			twice("Last-Modified and no-store", false, "Last-Modified: "+old, "Cache-Control: no-store"),
			twice("Last-Modified and an unknown directive", true, "Last-Modified: "+old, "Cache-Control: frob"),
			twice("Last-Modified and Content-Disposition", true, "Last-Modified: "+old, "Content-Disposition: attachment"),
			{name: "a query does not hinder", script: each200("Last-Modified: " + old), steps: []step{{at: "?a"}, {at: "?a", cached: true}}},
		},
	})...)
}
