package redis

import (
	"context"
	"encoding/binary"
	"strings"
	"time"
)

// query is what a flight asks the engine for: what is new in a log, or else
// the lease.
type query struct {
	own      string
	plain    string // the log of the name alone, where own is a variant's; else ""
	variant  uint64 // which plain must be of
	rejected string // id of the first entry of a log that is to be replaced
	last     string // id of the last entry read
	opening  opening
	bytes    int64
}

// reply is the answer: a lease, or another's log.
type reply struct {
	lease *lease

	log     string        // own or plain
	first   string        // id of the log's first entry
	left    time.Duration // to live, for the lease or the object
	since   time.Duration // the lease was taken
	more    bool          // there is more to be read at once
	entries []value
}

func (n *node) join(ctx context.Context, q query) (reply, error) {
	token, asked := n.e.token(), time.Now()
	logs, open := []string{q.own}, seal(q.own, kindOpen, q.opening.encode())
	if q.plain != "" {
		logs = append(logs, q.plain)
	}
	v, err := n.eval(ctx, q.bytes, scriptJoin, logs, []string{
		q.rejected, q.last, number(uint64(q.bytes)), token, open, millis(n.e.o.LeaseTTL),
		string(binary.LittleEndian.AppendUint64(nil, q.variant)),
	})
	if err != nil {
		return reply{}, err
	}
	if v.at(0).n == 1 {
		if v.at(2).n == 1 {
			n.e.n.badValues.Add(1)
		}
		n.e.n.taken.Add(1)
		return reply{lease: &lease{n: n, key: q.own, id: v.at(1).s, token: token, attempt: q.opening.attempt, took: asked}}, nil
	}
	r := reply{
		log:     logs[min(max(v.at(6).n-1, 0), int64(len(logs)-1))],
		first:   v.at(1).s,
		left:    time.Duration(v.at(2).n) * time.Millisecond,
		more:    v.at(4).n == 1,
		entries: v.at(5).list,
	}
	r.since, _ = time.ParseDuration(v.at(3).s + "us") // 0 for a foreign log, whose first entry will not pass
	return r, nil
}

// item is an entry whose checksum holds.
type item struct {
	kind    kind
	payload []byte
}

// items gives the entries of a log from number next on.
func items(key, first string, next uint64, entries []value) ([]item, error) {
	fence, _, _ := strings.Cut(first, "-")
	all := make([]item, len(entries))
	for i, e := range entries {
		field, val := e.at(1).at(0).s, e.at(1).at(1).s
		if e.at(0).s != fence+"-"+number(next) || field == "" {
			return nil, errBadValue
		}
		k := kind(field[0])
		switch {
		case next == 0:
			k = kindOpen // its field is the holder's token
		case len(field) > 1 || k == kindOpen:
			return nil, errBadValue
		}
		payload, err := unseal(key, k, val)
		if err != nil {
			return nil, err
		}
		all[i] = item{k, payload}
		next++
	}
	return all, nil
}
