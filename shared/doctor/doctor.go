// Package doctor has the words in which an endpoint says how it fares: what was looked at, how that is,
// and what to do about it. It imports endpoint, rights and the standard library.
package doctor

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rights"
)

// State is how a check ended.
type State string

// The states, from good to bad.
const (
	OK      State = "ok"
	Skipped State = "skipped" // not looked at; Advice says what would
	Warning State = "warning" // something that some verb will stumble over
	Failed  State = "failed"
)

// Check is one thing that was looked at.
type Check struct {
	Name   string
	State  State
	Detail string
	// Advice says what to do, where there is anything to do: a whole sentence.
	Advice string
}

// Need is what a verb takes.
type Need struct {
	Verb  string
	Rules rights.Rules
	// Asked: without it the check has failed; otherwise it is a warning.
	Asked bool
}

// Options say what is to be looked at.
type Options struct {
	// Probe runs one, on a secret that is made for it and removed after it.
	Probe bool
	// Needs gives what the verbs take in a namespace.
	Needs func(namespace string) ([]Need, error)
	// Allow is the command that gives the rights of a verb.
	Allow func(verb string) string
	// Now is the clock of this machine.
	Now func() time.Time
	// Progress is told what takes long.
	Progress func(string)
}

// Skew is how far clocks may be apart. Whether a kubelet still has to bring a value, or is late, is judged
// by minutes.
const Skew = 30 * time.Second

// Clock judges another machine's clock, which was read between two moments of ours.
func Clock(before, theirs, after time.Time) Check {
	c := Check{Name: "clock", State: OK}
	ahead := max(0, theirs.Sub(after))
	behind := max(0, before.Sub(theirs))
	switch {
	case ahead > Skew:
		c.State, c.Detail = Warning, fmt.Sprintf("it is %s ahead of this machine's", ahead.Round(time.Second))
	case behind > Skew:
		c.State, c.Detail = Warning, fmt.Sprintf("it is %s behind this machine's", behind.Round(time.Second))
	default:
		c.Detail = "it agrees with this machine's"
		return c
	}
	c.Advice = "Set both by NTP: how long ago a value has changed, and whether it still is on its way, would be judged wrongly."
	return c
}

// Of makes the check of what failed, with its reason and its hint.
func Of(name string, err error) Check {
	c := Check{Name: name, State: Failed, Detail: err.Error()}
	failure := (*endpoint.Error)(nil)
	if errors.As(err, &failure) {
		var parts []string
		for _, part := range []error{failure.Reason, failure.Cause} {
			if part != nil {
				parts = append(parts, part.Error())
			}
		}
		c.Detail, c.Advice = strings.Join(parts, ": "), failure.Hint
	}
	return c
}
