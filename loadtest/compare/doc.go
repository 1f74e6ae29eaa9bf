// Package compare measures what an answer costs: the same load on several servers,
// one after the other in rounds, each with one worker on one core, and the CPU time
// that their processes took for it. The load is a closed loop of few connections,
// which waits for each answer: it finds out what a server can do at most, and says
// little of how long users wait.
//
// It speaks HTTP to what it measures, and reads the rest from Linux's /proc.
package compare
