package translate

import (
	"math"
	"time"
)

// longestTime is the longest that is kept of a time: Kubernetes has 32 bits for the seconds of most.
const longestTime = math.MaxInt32 * time.Second

// The ways in which a time is written: by the engine, in a Compose file and in a manifest.

func nanoseconds(s scalar) (time.Duration, error) {
	n, err := wholeNumber(s)
	return time.Duration(n), err
}

func composeTime(s scalar) (time.Duration, error) { return time.ParseDuration(s.text) }

func seconds(s scalar) (time.Duration, error) {
	n, err := wholeNumber(s)
	if n < 0 || n > math.MaxInt32 {
		return -1, err
	}
	return time.Duration(n) * time.Second, err
}

// time reads one, nil where nothing is said. One that nobody can mean is left out: what has secrets is translated
// all the same.
func (w *Workload) time(o *object, key string, read func(scalar) (time.Duration, error)) *time.Duration {
	s, there := o.scalar(key)
	if !there {
		return nil
	}
	d, err := read(s)
	if err != nil || d < 0 || d > longestTime {
		w.leave(join(o.at, key) + " (no time between 0 and 68 years)")
		return nil
	}
	return &d
}

// wholeSeconds is a time as Kubernetes counts it, and tells whether that is longer than it was.
func wholeSeconds(d time.Duration) (n int64, rounded bool) {
	n = int64(d / time.Second)
	if rounded = d%time.Second != 0; rounded {
		n++
	}
	return n, rounded
}

// What is said of every service and of every pod, whether or not anybody has said it.
const (
	usualGraceOfSwarm      = 10 * time.Second
	usualGraceOfKubernetes = 30 * time.Second
)

// grace is how long a pod has to stop.
func (k *cluster) grace(spec Fields) Fields {
	if k.w.Grace == nil {
		return spec
	}
	n, rounded := wholeSeconds(*k.w.Grace)
	if rounded {
		k.w.note("its grace period is "+decimal(n)+"s", "Kubernetes counts whole seconds, and the service has "+k.w.Grace.String())
	}
	k.pair("--stop-grace-period "+k.w.Grace.String(), "terminationGracePeriodSeconds: "+decimal(n))
	return append(spec, Field{"terminationGracePeriodSeconds", n})
}

// grace is how long a task has to stop, nothing where the pod says nothing.
func (s *service) grace() string {
	if s.w.Grace == nil {
		return ""
	}
	n, _ := wholeSeconds(*s.w.Grace)
	s.pair("--stop-grace-period "+s.w.Grace.String(), "terminationGracePeriodSeconds: "+decimal(n))
	return s.w.Grace.String()
}
