package cache

// succeeded reports whether a status is a 2xx: only then are preconditions
// evaluated (RFC 9110, section 13.2.1).
func succeeded(status int) bool { return status >= 200 && status <= 299 }

// storableStatus refuses interim responses, and those that answer a condition
// or a range: 304 always, 412 and 416 where the client sent one.
func storableStatus(status int, rq Request) bool {
	switch status {
	case 304:
		return false
	case 412:
		return rq.traits&(conditional|originOnly) == 0
	case 416:
		return !rq.HasRange()
	}
	return status >= 200
}

// isHeuristic reports whether a response with this status may be fresh though
// nothing says so (RFC 9110, section 15.1). 206 is not stored at all.
func isHeuristic(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// isUnderstood reports whether the status is one whose requirements on caching
// this cache knows (RFC 9111, section 5.2.2.3): those of RFC 9110, section 15.
func isUnderstood(status int) bool {
	switch {
	case status >= 200 && status <= 206, status >= 300 && status <= 308 && status != 306,
		status >= 400 && status <= 417, status == 421, status == 422, status == 426,
		status >= 500 && status <= 505:
		return true
	}
	return false
}

// bidsRepeat reports whether a status tells the client to repeat the request,
// with credentials, on another connection or later: stored, it would answer
// that as well.
func bidsRepeat(status int) bool {
	switch status {
	case 401, 407, 408, 421, 425, 428, 429, 511:
		return true
	}
	return false
}
