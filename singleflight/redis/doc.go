// Package redis extends singleflight's flights across processes, on a Redis or
// Valkey of at least version 7.0: one fill in a whole fleet, which all others
// stream while it is under way and find when it is done. It knows keys, bytes
// and durations; what a head is its caller's [Codec] says.
//
// In the engine a flight is one stream, the log: an opening with its holder's
// token, the head, chunks, and an end. Until the end, the log's time to live is
// the lease, which the holder renews; after it, it is that of the object.
//
//  1. [Locker.Lead] joins: one script gives what is in the log or, where there
//     is none, opens it, which is to take the lease.
//  2. Who has the lease runs the fill and publishes it, each write being checked
//     against the log's first entry in the script that carries it out: a leader
//     that stood still past its lease can write nothing any more.
//  3. Who has not reads the log, now and whenever its channel or a slow poll
//     says so, head first. A Private verdict is in the log as such, and lets all
//     of them go alone at once.
//  4. A log that expires without an end has lost its leader. The next to look
//     takes the lease; a body that was begun is completed from the new fill
//     where that gives the same, and else its readers see the failure.
//
// Safety never depends on the lease, and no process's clock matters to another:
// expiries and ages are relative. Each call of the engine is bounded; without an
// engine every instance fills for itself. [Engine.Invalidate] reaches what all
// instances have, in the engine and of their own.
package redis
