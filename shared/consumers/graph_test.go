package consumers

import (
	"slices"
	"testing"

	"github.com/secretx/secretx/shared/secret"
)

func TestGraph(t *testing.T) {
	use := func(name, uid string) Use {
		return Use{Secret: name, UID: uid, How: File, Target: "/run/secrets/" + name}
	}
	before := use("pw", "1")
	before.Previous = true
	g := Graph{Consumers: []Consumer{
		{Kind: "service", Name: "web", Uses: []Use{use("pw.v2", "2"), before}},
		{Kind: "task", Name: "web.1", Owner: "service/web", Running: true, Uses: []Use{use("pw.v2", "2")}},
		{Kind: "task", Name: "web.2", Owner: "service/web", Running: true, Uses: []Use{use("pw", "1")}}, // not updated yet
		{Kind: "service", Name: "other", Uses: []Use{use("gone", "9")}},
	}}
	// Another secret got the name of one that a service still refers to.
	secrets := []secret.Secret{
		{Name: "pw", UID: "1"}, {Name: "pw.v2", UID: "2", Lineage: secret.Lineage{Name: "pw", Sequence: 2}},
		{Name: "gone", UID: "10"}, {Name: "idle", UID: "3"}, {Name: "own", UID: "4", Internal: "secretx's own"},
	}
	used := g.ByName(secret.Swarm, secrets)
	if len(used["pw"]) != 2 || len(used["pw.v2"]) != 2 {
		t.Errorf("%+v", used)
	}
	top := Top(used["pw.v2"])
	if len(top) != 1 || top[0].Consumer.ID() != "service/web" || Count(used["pw.v2"]) != 1 {
		t.Errorf("at the top of the new version: %+v", top)
	}
	// The task that has the old version has it by itself: its service only remembers it.
	if top = Top(used["pw"]); len(top) != 2 || Count(used["pw"]) != 1 {
		t.Errorf("at the top of the old version: %+v", top)
	}
	if names := Unused(secrets, used); !slices.Equal(names, []string{"gone", "idle"}) {
		t.Errorf("unused: %v", names)
	}
	if !Matches(secrets[1], "pw") || !Matches(secrets[1], "pw.v2") || Matches(secrets[1], "pw.v3") {
		t.Error("a version goes by its own name and by that of all")
	}
	if text := before.Summary(); text != "file /run/secrets/pw, for a rollback" {
		t.Error(text)
	}
}
