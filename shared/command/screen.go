package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/secretx/secretx/shared/report"
)

// ScreenOf is what stands at an output: none where it is no terminal.
func ScreenOf(f *os.File) report.Screen {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 1 {
		return report.Screen{}
	}
	return report.Screen{Width: width, Colours: os.Getenv("NO_COLOR") == "" && canRedraw()}
}

// canRedraw tells whether terminals understand more than lines.
func canRedraw() bool {
	kind := os.Getenv("TERM")
	return kind != "dumb" && (kind != "" || os.PathSeparator == '\\')
}

// liveWidth is how wide the error output is if what is there can be drawn over, and 0 if it can't.
func liveWidth(w io.Writer) int {
	var fd uintptr
	switch f := w.(type) {
	case interface{ Fd() uintptr }: // a file
		fd = f.Fd()
	case interface{ FD() uintptr }: // a stream of docker's
		fd = f.FD()
	default:
		return 0
	}
	width, _, err := term.GetSize(int(fd))
	if err != nil || !canRedraw() {
		return 0
	}
	return width
}

const (
	liveAfter = 400 * time.Millisecond // what is quicker shows no live line
	liveEvery = 150 * time.Millisecond
)

// live is the line at the bottom of a terminal that says how far a verb has come, and that it isn't stuck. It
// goes away before anything else is written.
type live struct {
	out   io.Writer
	width func() int

	mu    sync.Mutex
	text  string
	drawn bool
	stop  chan struct{} // nil while nothing is to be seen
}

// start shows the line from now on, where there is a terminal.
func (l *live) start(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stop != nil || l.width() == 0 {
		return
	}
	l.text, l.stop = text, make(chan struct{})
	go l.run(l.stop, time.Now())
}

func (l *live) run(stop chan struct{}, began time.Time) {
	timer := time.NewTimer(liveAfter)
	defer timer.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-stop:
			return
		case <-timer.C:
		}
		l.mu.Lock()
		if l.stop == stop {
			l.draw(turn, time.Since(began))
		}
		l.mu.Unlock()
		timer.Reset(liveEvery)
	}
}

func (l *live) draw(turn int, took time.Duration) {
	line := []rune(fmt.Sprintf("%c %s, %ds", []rune(`|/-\`)[turn%4], report.Printable(l.text), int(took.Seconds())))
	if width := l.width(); len(line) >= width {
		line = line[:max(width-1, 0)]
	}
	_, _ = fmt.Fprint(l.out, "\r"+string(line)+"\x1b[K")
	l.drawn = true
}

// set says what is going on, and whether anybody can see it.
func (l *live) set(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = text
	return l.stop != nil
}

// end takes the line away for good.
func (l *live) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.erase()
	if l.stop != nil {
		close(l.stop)
		l.stop = nil
	}
}

func (l *live) erase() {
	if l.drawn {
		_, _ = fmt.Fprint(l.out, "\r\x1b[K")
		l.drawn = false
	}
}

// results is the output that documents go to: with the first of them the live line is gone.
type results struct {
	io.Writer
	live *live
}

func (r *results) Write(p []byte) (int, error) {
	r.live.end()
	return r.Writer.Write(p)
}

// remarks is the error output: lines go above the live line, and what isn't a whole line asks for an answer, which
// is typed behind it.
type remarks struct {
	io.Writer
	live  *live
	quiet *bool // no lines are wanted
}

func (r *remarks) Write(p []byte) (int, error) {
	whole := strings.HasSuffix(string(p), "\n")
	if whole && *r.quiet {
		return len(p), nil
	}
	if !whole {
		r.live.end()
	}
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	r.live.erase()
	return r.Writer.Write(p)
}

// onScreen gives the host outputs that know of a live line, and each verb that line and --quiet.
func (h Host) onScreen() (Host, func(*cobra.Command)) {
	quiet, errOut := false, h.Err
	h.live = &live{out: errOut, width: func() int {
		if quiet {
			return 0
		}
		return liveWidth(errOut)
	}}
	h.Out, h.Err = &results{h.Out, h.live}, &remarks{errOut, h.live, &quiet}
	if password := h.Password; password != nil {
		h.Password = func(ctx context.Context, question string) ([]byte, error) {
			h.live.end()
			return password(ctx, question)
		}
	}
	return h, func(verb *cobra.Command) {
		if verb.Flags().Lookup("quiet") == nil {
			grouped(verb.Flags(), groupOutput, func() {
				verb.Flags().BoolVarP(&quiet, "quiet", "q", false, "Print results and errors alone: no progress, no summary")
			})
		}
		run := verb.RunE
		verb.RunE = func(cmd *cobra.Command, args []string) error {
			h.live.start(cmd.Name() + " is at work")
			defer h.live.end()
			return run(cmd, args)
		}
	}
}
