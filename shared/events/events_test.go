package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/secretx/secretx/shared/apply"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/mapping"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/secret"
	"github.com/secretx/secretx/shared/watch"
)

// kept is what was told.
type kept struct {
	mu    sync.Mutex
	all   []endpoint.Notice
	fails error
}

func (k *kept) Announce(_ context.Context, n endpoint.Notice) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, n)
	return k.fails
}

func (k *kept) taken() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var lines []string
	for _, n := range k.all {
		lines = append(lines, fmt.Sprintf("%s/%s/%s %v %s %s %d: %s", n.Kind, n.Object, n.UID, n.Warning, n.Reason, n.Action, n.Count, n.Text))
	}
	k.all = nil
	return lines
}

func written(result apply.Result, err error, action plan.Action) watch.Event {
	return watch.Event{Kind: watch.Write, To: endpoint.Place{Name: "swarm"}, Outcome: apply.Outcome{
		Item: plan.Item{Name: "db.k.v2", Origins: []string{"db"}, Action: action, Sources: []mapping.OriginKey{
			{Ref: secret.Ref{Name: "db", UID: "u1"}, Value: secret.NewValue([]byte("hunter2"))},
		}},
		Result: result, Err: err,
	}}
}

func run(t *testing.T, work func(*Teller, *[]string)) {
	synctest.Test(t, func(t *testing.T) {
		var said []string
		teller := New("me", func(line string) { said = append(said, line) })
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { defer close(over); teller.Run(ctx) }()
		work(teller, &said)
		cancel()
		<-over
	})
}

func TestWhatIsTold(t *testing.T) {
	from, to, board := &kept{}, &kept{}, &kept{}
	run(t, func(teller *Teller, _ *[]string) {
		teller.Tell(endpoint.Notice{Reason: Elected, Text: "nobody hears"})
		teller.Board(board, "lease", "u9")
		both := Ends{From: from, To: to}
		teller.Record(both, written(apply.Done, nil, plan.AddVersion))
		teller.Record(both, written(apply.Failed, errors.New("no\x1b[2J space"), plan.AddVersion))
		teller.Record(both, written(apply.Interrupted, context.Canceled, plan.AddVersion))
		teller.Record(both, written(apply.Done, nil, plan.Refresh))
		left := written("", nil, plan.Nothing)
		left.Kind, left.Outcome.Item.State, left.Outcome.Item.Reason = watch.Left, plan.Conflict, "it is another's"
		teller.Record(both, left)
		gone := written(apply.Done, nil, plan.Remove)
		gone.Outcome.Item.Sources = nil
		gone.Outcome.Item.Existing = &secret.Secret{Name: "db.k", Mark: &secret.Mark{Parts: []secret.Part{{Secret: "db", UID: "u0"}}}}
		teller.Record(both, gone)
		mirror := written(apply.Done, nil, plan.Update)
		mirror.Outcome.Written.UID = "u2"
		teller.Record(Ends{To: to}, mirror)
		teller.Record(both, watch.Event{Kind: watch.Failure, Err: errors.New("gone")})
		teller.Record(both, watch.Event{Kind: watch.Rolled, To: endpoint.Place{Name: "swarm"}})
		teller.Record(both, watch.Event{Kind: watch.Rolled, Err: errors.New("didn't settle")})
		teller.Record(Ends{}, written(apply.Done, nil, plan.Create)) // two Swarms
		synctest.Wait()
		for _, one := range []struct {
			at   *kept
			want []string
		}{
			{from, []string{
				"Secret/db/u1 false Mirrored AddVersion 1: db.k.v2 at swarm: add-version done",
				"Secret/db/u1 true MirrorFailed AddVersion 1: db.k.v2 at swarm: add-version failed: no [2J space",
				"Secret/db/u1 true NotMirrored Compare 1: db.k.v2 at swarm: conflict: it is another's",
				"Secret/db/u0 false MirrorRemoved Remove 1: db.k.v2 at swarm: removed, as its origin is gone",
			}},
			{to, []string{"Secret/db.k.v2/u2 false Mirrored Update 1: db.k.v2 at swarm: update done"}},
			{board, []string{
				"Lease/lease/u9 true WatchFailed Watch 1: gone",
				"Lease/lease/u9 false RolledOut Rollout 1: new values have reached those who use them at swarm",
				"Lease/lease/u9 true RolloutFailed Rollout 1: didn't settle",
			}},
		} {
			if got := one.at.taken(); !slices.Equal(got, one.want) {
				t.Errorf("told:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(one.want, "\n"))
			}
		}
	})
}

// TestThrottle: what goes on is one Event that counts; an object that changes all the time gets some now and then.
func TestThrottle(t *testing.T) {
	at := &kept{}
	ends := Ends{From: at}
	run(t, func(teller *Teller, _ *[]string) {
		for range 3600 { // an hour
			teller.Record(ends, written(apply.Failed, errors.New("full"), plan.AddVersion))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		got := at.all
		if len(got) != 60 || got[0].Count != 1 || got[59].Count < 3500 || got[59].First != got[0].First {
			t.Errorf("%d in an hour, the last %+v", len(got), got[len(got)-1])
		}
		at.all = nil
		time.Sleep(time.Hour)
		for i := range 3600 {
			e := written(apply.Done, nil, plan.AddVersion)
			e.Outcome.Item.Name = fmt.Sprint("db.k.v", i)
			teller.Record(ends, e)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := len(at.all); n < burst+50 || n > burst+60 {
			t.Errorf("%d of 3,600 that differ", n)
		}
		at.all = nil
		time.Sleep(time.Hour)
		teller.Record(ends, written(apply.Failed, errors.New("full"), plan.AddVersion))
		synctest.Wait()
		if len(at.all) != 1 || at.all[0].Count != 1 {
			t.Errorf("after a while it is a new one: %+v", at.all)
		}
	})
}

// TestNoEvents: what keeps them from being written is said once, and nothing waits for it.
func TestNoEvents(t *testing.T) {
	at := &kept{fails: errors.New("not allowed")}
	run(t, func(teller *Teller, said *[]string) {
		for i := range mostWait * 2 {
			e := written(apply.Done, nil, plan.Create)
			e.Outcome.Item.Origins, e.Outcome.Item.Sources[0].Ref.Name = nil, fmt.Sprint("s", i)
			teller.Record(Ends{From: at}, e)
		}
		synctest.Wait()
		if len(*said) != 1 {
			t.Errorf("said: %q", *said)
		}
	})
}
