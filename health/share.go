package health

import "strconv"

// Standing says why a member gets the traffic it gets. The set is closed; where
// several apply, the last in this order is the one that is said.
type Standing uint8

// The standings of a member.
const (
	// Live gets traffic: its full share, or a growing part of it in its slow
	// start.
	Live Standing = iota
	// Unchecked is new beside live members and waits for its first good check.
	Unchecked
	// Ejected is out because of the results of real requests.
	Ejected
	// Down is out because of its checks.
	Down
	// Drained is out because the operator wants it so.
	Drained
)

// String returns the standing in lower case, for logs and metrics.
func (s Standing) String() string {
	if names := [...]string{"live", "unchecked", "ejected", "down", "drained"}; int(s) < len(names) {
		return names[s]
	}
	return "standing " + strconv.Itoa(int(s))
}

// Share is the part of its traffic that a member should get.
type Share struct {
	Member   *Member
	Factor   float64 // from 0 to 1; above 0 exactly where the member is live
	Standing Standing
}

// Panicking says whether so few members are live, less than a percentage (50 is
// usual), that health had better be ignored: those few could not carry the load,
// and it is likelier that the observations are wrong than that all the others
// are. Members that are drained count on neither side, nor do those that wait
// for their first check; the caller sends drained ones nothing even then.
func Panicking(shares []Share, percent int) bool {
	live, all := 0, 0
	for _, s := range shares {
		if s.Standing == Drained || s.Standing == Unchecked {
			continue
		}
		all++
		if s.Standing == Live {
			live++
		}
	}
	return live*100 < percent*all
}
