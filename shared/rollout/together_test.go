package rollout

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTogether: however many wait, they look together, each sees what began after it asked, and who goes away
// takes nothing from the others.
func TestTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var together Together[int, map[int]bool]
		var looks atomic.Int32
		look := func(ctx context.Context, of map[int]bool) (map[int]bool, error) {
			looks.Add(1)
			time.Sleep(time.Second)
			return of, ctx.Err()
		}
		impatient, cancel := context.WithCancel(t.Context())
		defer cancel()
		over := make(chan struct{})
		leave := make([]func(), 100)
		for i := range 100 {
			leave[i] = together.Join(i)
		}
		for i := range 100 {
			go func() {
				defer func() { over <- struct{}{} }()
				defer leave[i]()
				ctx := t.Context()
				if i == 0 {
					ctx = impatient
				}
				for n := range 3 {
					began := time.Now()
					time.Sleep(time.Millisecond)
					v, err := together.See(ctx, i, began, look)
					if i == 0 && n > 0 {
						if !errors.Is(err, context.Canceled) {
							t.Errorf("it was told to go: %v", err)
						}
						return
					}
					if i == 0 {
						cancel()
					}
					if err != nil || !v.Shown[i] || !v.Began.After(began) || v.Took != time.Second {
						t.Errorf("%d: %+v %v", i, v, err)
					}
				}
			}()
		}
		for range 100 {
			<-over
		}
		if n := looks.Load(); n < 3 || n > 4 {
			t.Errorf("%d looks", n)
		}
		if !together.Idle() {
			t.Error("something is kept that nobody waits for")
		}
	})
}

func TestTogetherFails(t *testing.T) {
	var together Together[string, int]
	defer together.Join("a")()
	want := errors.New("no")
	if v, err := together.See(t.Context(), "a", time.Time{}, func(context.Context, map[string]bool) (int, error) { return 0, want }); !errors.Is(err, want) || v == nil {
		t.Errorf("%v %v", v, err)
	}
}
