package swarm

import (
	"testing"

	"github.com/docker/docker/api/types/events"

	"github.com/secretx/secretx/shared/endpoint"
)

// TestChangeOf: who has just made a secret knows its ID and no version of it. That its creation is told is no news
// then, and everything after it is.
func TestChangeOf(t *testing.T) {
	message := func(action events.Action) events.Message {
		return events.Message{Action: action, TimeNano: 7, Actor: events.Actor{ID: "id", Attributes: map[string]string{"name": "a"}}}
	}
	for action, want := range map[events.Action]endpoint.Change{
		events.ActionCreate: {Name: "a", UID: "id"},
		events.ActionUpdate: {Name: "a", UID: "id", Version: "after 7"},
		events.ActionRemove: {Name: "a"},
	} {
		if got := changeOf(message(action)); got != want {
			t.Errorf("%s: %+v", action, got)
		}
	}
}
