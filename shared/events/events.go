// Package events tells of what a watch does by Events of Kubernetes: on the Secret that a mirror is made of or is,
// and on the Lease for what concerns all. What repeats itself becomes one Event that counts. No value is ever in
// one. It imports watch, apply, plan, endpoint and secret.
package events

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/watch"
)

// The reasons of Events.
const (
	Mirrored      = "Mirrored"      // what was to be written stands
	MirrorRemoved = "MirrorRemoved" // that of an origin that is gone
	MirrorFailed  = "MirrorFailed"  // it could not be written; it is tried again
	NotMirrored   = "NotMirrored"   // somebody has to decide or to change something
	RolledOut     = "RolledOut"     // new values have reached those who use the mirrors
	RolloutFailed = "RolloutFailed"
	WatchFailed   = "WatchFailed"    // a watch, a look or a plan; it is tried again
	Elected       = "LeaderElection" // as Kubernetes' own components call it
)

// How much is told. An object gets a few Events at once, and then one a minute. What happens again within a while
// is no Event more: the one there is counts, and says so once a minute.
const (
	burst    = 10
	refill   = time.Minute
	goesOn   = 6 * time.Minute
	mostKept = 20_000 // objects that are remembered
	mostWait = 5_000  // Events that wait to be written; more are dropped
)

// Teller tells of what happens, in its own time.
type Teller struct {
	by    string
	say   func(string)
	queue chan waiting

	mu    sync.Mutex
	board *object
	known map[object]*history
	now   func() time.Time
}

type waiting struct {
	at     endpoint.Announcer
	notice endpoint.Notice
}

// object is what something is told of.
type object struct {
	at              endpoint.Announcer
	kind, name, uid string
}

// history is what an object was told of.
type history struct {
	left  int // Events that it may still get
	since time.Time
	last  map[string]*repeated // by reason
}

type repeated struct {
	endpoint.Notice
	told time.Time
}

// New makes one for a process. What keeps Events from being written is said, each reason once.
func New(by string, say func(string)) *Teller {
	return &Teller{by: by, say: say, queue: make(chan waiting, mostWait), known: map[object]*history{}, now: time.Now}
}

// Board says where it is told what concerns no Secret: on a Lease.
func (t *Teller) Board(at endpoint.Announcer, lease, uid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.board = &object{at, "Lease", lease, uid}
}

// Run writes Events until ctx ends.
func (t *Teller) Run(ctx context.Context) {
	last := ""
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-t.queue:
			err := one.at.Announce(ctx, one.notice)
			if err != nil && ctx.Err() == nil && err.Error() != last {
				last = err.Error()
				t.say("no Event: " + last)
			}
		}
	}
}

// Ends are both ends of a pair, as far as there are Events; nil where there are none.
type Ends struct{ From, To endpoint.Announcer }

// Record tells of what a watch did.
func (t *Teller) Record(ends Ends, e watch.Event) {
	o := e.Outcome
	n := endpoint.Notice{Action: camel(string(o.Item.Action))}
	text := o.Item.Name + " at " + e.To.Name + ": "
	switch {
	case e.Kind == watch.Failure:
		t.Tell(endpoint.Notice{Reason: WatchFailed, Action: "Watch", Warning: true, Text: e.Err.Error()})
		return
	case e.Kind == watch.Rolled && e.Err != nil:
		t.Tell(endpoint.Notice{Reason: RolloutFailed, Action: "Rollout", Warning: true, Text: e.Err.Error()})
		return
	case e.Kind == watch.Rolled:
		t.Tell(endpoint.Notice{Reason: RolledOut, Action: "Rollout", Text: "new values have reached those who use them at " + e.To.Name})
		return
	case e.Kind == watch.Left:
		n.Reason, n.Action, n.Warning = NotMirrored, "Compare", true
		n.Text = text + string(o.Item.State)
		if o.Item.Reason != "" {
			n.Text += ": " + o.Item.Reason
		}
	case e.Kind != watch.Write || o.Result == apply.Interrupted || o.Item.Action == plan.Refresh:
		return
	case o.Err != nil:
		n.Reason, n.Warning, n.Text = MirrorFailed, true, text+string(o.Item.Action)+" failed: "+o.Err.Error()
	case o.Item.Action == plan.Remove:
		n.Reason, n.Text = MirrorRemoved, text+"removed, as its origin is gone"
	default:
		n.Reason, n.Text = Mirrored, text+string(o.Item.Action)+" done"
	}
	for _, about := range objects(ends, o) {
		t.tell(about, n)
	}
}

// Tell tells on the board.
func (t *Teller) Tell(n endpoint.Notice) {
	t.mu.Lock()
	board := t.board
	t.mu.Unlock()
	if board != nil {
		t.tell(*board, n)
	}
}

// objects are the Secrets that a mirror is made of where these are in Kubernetes, and the mirror where it is.
func objects(ends Ends, o apply.Outcome) (all []object) {
	uids := map[string]string{}
	switch {
	case ends.From != nil:
		for _, name := range o.Item.Origins {
			uids[name] = ""
		}
		if o.Item.Existing != nil && o.Item.Existing.Mark != nil {
			for _, part := range o.Item.Existing.Mark.Parts {
				uids[part.Secret] = part.UID
			}
		}
		for _, source := range o.Item.Sources {
			if source.Ref.Name != "" {
				uids[source.Ref.Name] = source.Ref.UID
			}
		}
	case ends.To != nil && o.Item.Name != "":
		uids[o.Item.Name] = o.Written.UID
		if o.Item.Existing != nil && o.Written.UID == "" {
			uids[o.Item.Name] = o.Item.Existing.UID
		}
	}
	at := ends.From
	if at == nil {
		at = ends.To
	}
	for name, uid := range uids {
		all = append(all, object{at, "Secret", name, uid})
	}
	return all
}

// tell has an Event written unless there have been enough.
func (t *Teller) tell(about object, n endpoint.Notice) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	h := t.known[about]
	if h == nil {
		t.forget(now)
		h = &history{left: burst, since: now, last: map[string]*repeated{}}
		t.known[about] = h
	}
	n.Kind, n.Object, n.UID, n.By = about.kind, about.name, about.uid, t.by
	n.Text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, n.Text)
	if last := h.last[n.Reason]; last != nil && last.Text == n.Text && now.Sub(last.Last) < goesOn {
		last.Count, last.Last = last.Count+1, now
		if now.Sub(last.told) < refill {
			return
		}
		last.told = now
		n = last.Notice
	} else {
		if more := int(now.Sub(h.since) / refill); more > 0 {
			h.left, h.since = min(burst, h.left+more), h.since.Add(time.Duration(more)*refill)
		}
		if h.left == 0 {
			return
		}
		h.left--
		n.First, n.Last, n.Count = now, now, 1
		h.last[n.Reason] = &repeated{Notice: n, told: now}
	}
	select {
	case t.queue <- waiting{about.at, n}:
	default:
	}
}

// forget drops what has not happened for long, when much is remembered.
func (t *Teller) forget(now time.Time) {
	if len(t.known) < mostKept {
		return
	}
	for about, h := range t.known {
		stale := true
		for _, last := range h.last {
			stale = stale && now.Sub(last.Last) > goesOn
		}
		if stale {
			delete(t.known, about)
		}
	}
}

// camel is a word as Events have them: add-version becomes AddVersion.
func camel(word string) string {
	var text strings.Builder
	for part := range strings.SplitSeq(word, "-") {
		if part != "" {
			text.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return text.String()
}
