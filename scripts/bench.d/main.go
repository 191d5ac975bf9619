// Command bench measures the two plugins against what the same work costs without them, in one run
// and by turns, so that what else the machine is doing falls on both alike. It prints ratios; times
// alone would say more about the machine. It fails when a result is wrong, never when it is slow.
//
// It runs in the environment of scripts/testbed; scripts/bench sets that up. To the engine and to the API
// server it speaks bare HTTP: it is the reference, and must not get slower or quicker with a client
// library.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// bench is what every measurement uses.
type bench struct {
	engine  *engine
	cluster *cluster
	rounds  int
}

// result is one line of the table. Ours and reference are what is shown; the ratio is the median
// over the rounds, each of which ran both.
type result struct {
	work, reference, ours, against string
	ratio                          float64
	aim                            float64
	atLeast                        bool // the ratio is how many times quicker ours is
}

func (r result) met() bool {
	if r.atLeast {
		return r.ratio >= r.aim
	}
	return r.ratio <= r.aim
}

type measurement struct {
	name, about string
	run         func(context.Context, *bench) ([]result, error)
}

var measurements = []measurement{
	{"to-swarm", "1,000 new secrets from Kubernetes to the Swarm", toSwarm},
	{"to-kubernetes", "1,000 new secrets from the Swarm to Kubernetes", toKubernetes},
	{"diff", "10,000 pairs that are in sync", diff},
	{"peek", "a look into 100 tasks of a service", peek},
	{"consumers", "who uses secrets, among 5,000 pods and 500 services", consumers},
	{"rotate", "a new value for 20 services, and 20 new values for one", rotate},
	{"start", "the start of the Docker plugin", start},
}

func main() {
	// The launcher of a measured child, see child.go.
	if len(os.Args) > 2 && os.Args[1] == launcher {
		os.Exit(launch(os.Args[2:]))
	}
	if len(os.Args) == 3 && os.Args[1] == lister {
		os.Exit(list(os.Args[2]))
	}
	os.Exit(benchmark())
}

func benchmark() int {
	var names []string
	flags := flag.NewFlagSet("scripts/bench", flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "how many times each measurement is made, ours and the reference by turns")
	flags.Func("only", "measure only `NAME`; may be given again", func(name string) error {
		if !slices.ContainsFunc(measurements, func(m measurement) bool { return m.name == name }) {
			return fmt.Errorf("there is no %q", name)
		}
		names = append(names, name)
		return nil
	})
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "Usage: scripts/bench [--only NAME]... [--rounds N]\n\nMeasures secretx on the testbed, which must be up.\n\n")
		for _, m := range measurements {
			fmt.Fprintf(flags.Output(), "  %-14s %s\n", m.name, m.about)
		}
		fmt.Fprintln(flags.Output())
		flags.PrintDefaults()
	}
	switch err := flags.Parse(os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil || flags.NArg() > 0 || *rounds < 1:
		return 2
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	b := &bench{rounds: *rounds}
	var err error
	if b.engine, err = newEngine(); err == nil {
		b.cluster, err = newCluster()
	}
	if err == nil {
		err = b.clean(ctx) // what a run that was killed left
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	}

	say("%s, %d rounds; load of this machine before: %s", time.Now().Format(time.DateTime), b.rounds, load())
	var results []result
	failed := false
	for _, m := range measurements {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		say("%s: %s", m.name, m.about)
		found, err := m.run(ctx, b)
		// Also after an interrupt: nothing is left behind.
		left := b.clean(context.WithoutCancel(ctx))
		if left != nil {
			left = fmt.Errorf("not all is removed, the next run tries that again: %w", left)
		}
		if ctx.Err() != nil {
			fmt.Fprintln(os.Stderr, "bench:", errors.Join(errors.New("interrupted"), left))
			return 130
		}
		err = errors.Join(err, left)
		if err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", m.name, err)
			failed = true
			continue
		}
		results = append(results, found...)
	}
	say("load of this machine after: %s", load())
	print(results)
	if failed {
		return 1
	}
	return 0
}

func print(results []result) {
	if len(results) == 0 {
		return
	}
	fmt.Println()
	tabs := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tabs, "WORK\tAGAINST\tOURS\tTHEIRS\tRATIO\tAIM\t")
	for _, r := range results {
		sign, verdict := "<=", "met"
		if r.atLeast {
			sign = ">="
		}
		if !r.met() {
			verdict = "missed"
		}
		fmt.Fprintf(tabs, "%s\t%s\t%s\t%s\t%.2f\t%s %.2f\t%s\n", r.work, r.reference, r.ours, r.against, r.ratio, sign, r.aim, verdict)
	}
	tabs.Flush()
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// load is how busy the machine is, since it doesn't belong to this program alone.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return "unknown"
	}
	return fields[0] + ", " + fields[1]
}

// series is the times of one thing, a round each.
type series []time.Duration

func (s series) median() time.Duration {
	sorted := slices.Sorted(slices.Values(s))
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// seconds prints the median and the range.
func (s series) seconds() string {
	if m := s.median(); m < 200*time.Millisecond {
		return fmt.Sprintf("%.1f ms (%.1f-%.1f)", ms(m), ms(slices.Min(s)), ms(slices.Max(s)))
	}
	return fmt.Sprintf("%.2f s (%.2f-%.2f)", s.median().Seconds(), slices.Min(s).Seconds(), slices.Max(s).Seconds())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ratio is the median of the quotients of the rounds: a round in which the machine was busy with
// something else counts once, and for both.
func ratio(a, b series) float64 {
	quotients := make([]float64, min(len(a), len(b)))
	for i := range quotients {
		quotients[i] = a[i].Seconds() / b[i].Seconds()
	}
	slices.Sort(quotients)
	n := len(quotients)
	return (quotients[(n-1)/2] + quotients[n/2]) / 2
}

// timed runs something and says how long it took.
func timed(do func() error) (time.Duration, error) {
	began := time.Now()
	err := do()
	return time.Since(began), err
}
