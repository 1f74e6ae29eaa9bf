package health

import "time"

// rampSteps is how many times a factor changes while it ramps.
const rampSteps = 20

// rampFactor is the share of a member that came back some time ago, with a slow
// start of a length: a hundredth at first, then a twentieth more with each
// twentieth of the time. Each change of a factor moves keys and rebuilds what
// places them, hence the steps; below a hundredth too few requests would come to
// tell whether the member is well.
func rampFactor(since, length time.Duration) float64 {
	if since >= length {
		return 1
	}
	return max(0.01, float64(rampStep(since, length))/rampSteps)
}

// rampNext is the time until that factor changes, 0 if it will not.
func rampNext(since, length time.Duration) time.Duration {
	if since >= length {
		return 0
	}
	next := time.Duration(rampStep(since, length) + 1)
	return (length*next+rampSteps-1)/rampSteps - since
}

func rampStep(since, length time.Duration) int64 {
	return int64(since * rampSteps / length)
}
