package upstream

import (
	"fmt"
	"testing"

	"ringfence/health"
)

// TestFactors: a letter stands for a member, in lower case for a backup: Live,
// Unchecked, Ejected, Down, X drained, and Zero
// weight, of which health does not know yet where it is W.
func TestFactors(t *testing.T) {
	for _, tt := range []struct {
		members string
		percent int
		want    string // tenths of the weight, f for all of it
		panics  bool
	}{
		{"", 50, "", false},
		{"LLL", 50, "fff", false},
		{"LLD", 50, "ff0", false},
		{"LE", 50, "f0", false},                   // half is not too few
		{"LDD", 50, "fff", true},                  // less is
		{"LDE", 0, "f00", false},                  // unless nobody minds
		{"LDE", 33, "f00", false},                 // 1 of 3 is a third
		{"LDE", 34, "fff", true},                  //
		{"DE", 0, "ff", true},                     // none is
		{"D", 50, "f", true},                      //
		{"R", 50, "1", false},                     // a slow start
		{"RL", 50, "1f", false},                   //
		{"RDD", 50, "fff", true},                  //
		{"LX", 50, "f0", false},                   // what is drained counts on neither side
		{"LXXX", 50, "f000", false},               // however many
		{"DX", 50, "f0", true},                    // and gets nothing even then
		{"XX", 50, "00", false},                   // nothing is known against them
		{"LZ", 50, "f0", false},                   //
		{"LUUU", 50, "f000", false},               // who waits for a check
		{"LDDU", 50, "ffff", true},                //
		{"UU", 50, "ff", false},                   // all are new: nothing is disregarded
		{"UD", 50, "ff", true},                    //
		{"Lll", 50, "f00", false},                 // backups
		{"LDl", 50, "f00", false},                 //
		{"LDDl", 50, "f000", false},               // help only where no other is fit, panic or not
		{"DDl", 50, "00f", false},                 //
		{"DElr", 50, "00f1", false},               //
		{"DUld", 50, "00f0", false},               //
		{"DDdd", 50, "ff00", true},                // nobody is fit: the walk stays as it was
		{"DDx", 50, "ff0", true},                  //
		{"XXd", 50, "00f", true},                  // only backups are left
		{"XXl", 50, "00f", false},                 //
		{"Wl", 50, "0f", false},                   // its weight has only just gone
		{"Zd", 50, "0f", true},                    //
		{"XXde", 50, "00ff", true},                //
		{"XXu", 50, "00f", false},                 //
		{"ll", 50, "ff", false},                   //
		{"ldd", 50, "f00", false},                 // among backups there is no panic
		{"LDDDDDDDDDl", 10, "f0000000000", false}, //
	} {
		var members []member
		var states []health.Share
		for _, c := range tt.members {
			m := member{server: &server{}, weight: 2, backup: c >= 'a'}
			s := health.Share{}
			switch c | 0x20 {
			case 'l':
				s.Factor = 1
			case 'w':
				m.weight, s.Factor = 0, 1
			case 'r':
				s.Factor = 0.1
			case 'u':
				s.Standing = health.Unchecked
			case 'e':
				s.Standing = health.Ejected
			case 'd':
				s.Standing = health.Down
			case 'z':
				m.weight = 0
				fallthrough
			case 'x':
				s.Standing = health.Drained
			}
			members, states = append(members, m), append(states, s)
		}
		factors, panics := factors(members, states, tt.percent)
		got := ""
		for _, f := range factors {
			if f == 1 {
				got += "f"
			} else {
				got += fmt.Sprintf("%.0f", 10*f)
			}
		}
		if got != tt.want || panics != tt.panics {
			t.Errorf("%s at %d%%: %s, panic %v; want %s, %v", tt.members, tt.percent, got, panics, tt.want, tt.panics)
		}
	}
}
