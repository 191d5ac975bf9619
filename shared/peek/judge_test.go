package peek

import (
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/secret"
)

var (
	nonce = []byte("nonce of the test")
	now   = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func digest(text string) secret.Digest { return secret.NewValue([]byte(text)).Digest(nonce) }
func content(text string) Content      { return Content{Digest: digest(text)} }
func file(text string) FileSeen {
	return FileSeen{Stat: true, Mode: 0o444, Content: content(text)}
}

// holds is a secret that is now what text says, since long ago.
func holds(text string) Current {
	return Current{Exists: true, Digest: digest(text), UID: "1", Name: "s", Created: now.Add(-time.Hour), Changed: now.Add(-time.Hour)}
}

func recently(c Current) Current { c.Changed = now.Add(-time.Second); return c }

func TestStates(t *testing.T) {
	const at = "/run/secrets/s"
	inFile := Want{How: File, Secret: "s", Key: "k", Path: at}
	inEnv := Want{How: Env, Secret: "s", Key: "k", Variable: "V"}
	with := func(w Want, change func(*Want)) Want { change(&w); return w }
	files := func(f FileSeen) Seen { return Seen{Files: map[string]FileSeen{at: f}} }
	env := func(text string) Seen { return Seen{Env: map[string]Content{"V": content(text)}} }
	gone := Current{Changed: now.Add(-time.Hour)}
	for name, test := range map[string]struct {
		kind    secret.Kind
		want    Want
		seen    Seen
		unseen  string
		current Current
		state   State
		fine    bool
		says    string
		mend    string
	}{
		"file":                      {want: inFile, seen: files(file("v")), current: holds("v"), state: Fresh, fine: true},
		"older file":                {want: inFile, seen: files(file("old")), current: holds("v"), state: StaleFile, says: "has had time", mend: "kubectl rollout restart deployment/web"},
		"older file, changed now":   {want: inFile, seen: files(file("old")), current: recently(holds("v")), state: Pending, mend: "Wait."},
		"older subPath":             {want: with(inFile, func(w *Want) { w.SubPath = true }), seen: files(file("old")), current: recently(holds("v")), state: StaleSubPath, mend: "rollout restart"},
		"recreated immutable":       {want: inFile, seen: files(file("old")), current: Current{Exists: true, Digest: digest("v"), Immutable: true, Created: now, Changed: now}, state: StaleFile, says: "immutable", mend: "rollout restart"},
		"new key, no file yet":      {want: inFile, current: recently(holds("v")), state: Pending},
		"no file":                   {want: inFile, current: holds("v"), state: Missing, mend: "rollout restart"},
		"optional, no secret":       {want: with(inFile, func(w *Want) { w.Optional = true }), state: Missing, fine: true, says: "optional"},
		"no secret":                 {want: inFile, state: Missing, mend: "take the reference out"},
		"key removed, file there":   {want: inFile, seen: files(file("v")), current: gone, state: StaleFile},
		"key just removed":          {want: inFile, seen: files(file("v")), current: recently(gone), state: Pending},
		"mode":                      {want: with(inFile, func(w *Want) { w.Mode, w.HasMode = 0o400, true }), seen: files(file("v")), current: holds("v"), state: WrongMode, says: "0444, it should be 0400"},
		"owner":                     {want: with(inFile, func(w *Want) { w.FileUID, w.Owned = 1000, true }), seen: files(file("v")), current: holds("v"), state: WrongOwner, says: "0:0, it should be 1000:0"},
		"older and of a wrong mode": {want: with(inFile, func(w *Want) { w.Mode, w.HasMode = 0o400, true }), seen: files(file("old")), current: holds("v"), state: StaleFile},
		"can't be read":             {want: inFile, seen: files(FileSeen{Unseen: "it is a directory"}), current: holds("v"), state: Unverifiable, says: "directory"},
		"current not known":         {want: inFile, seen: files(file("v")), current: Current{Unknown: "--no-probe"}, state: Unverifiable, says: "--no-probe"},
		"template":                  {want: with(inFile, func(w *Want) { w.Template = "it is a template" }), seen: files(file("v")), current: holds("v"), state: Unverifiable, says: "template"},
		"not looked into":           {want: inFile, unseen: "its node is down", current: holds("v"), state: Unverifiable, says: "down"},

		"variable":                {want: inEnv, seen: env("v"), current: holds("v"), state: Fresh, fine: true},
		"older variable":          {want: inEnv, seen: env("old"), current: recently(holds("v")), state: StaleEnv, mend: "rollout restart"},
		"variable of what's gone": {want: inEnv, seen: env("v"), state: StaleEnv},
		"no variable":             {want: inEnv, current: holds("v"), state: Missing},
		"optional variable":       {want: with(inEnv, func(w *Want) { w.Optional = true }), state: Missing, fine: true},
		"environment not read":    {want: inEnv, seen: Seen{EnvUnseen: "not allowed"}, current: holds("v"), state: Unverifiable, says: "not allowed"},

		"pointer":            {want: Want{How: Pointer, Variable: "V", Path: at}, seen: Seen{Files: files(file("v")).Files, Env: env(at).Env}, state: Fresh, fine: true},
		"pointer to nothing": {want: Want{How: Pointer, Variable: "V", Path: at}, seen: env(at), state: Missing},
		"pointer elsewhere":  {want: Want{How: Pointer, Variable: "V", Path: at}, seen: Seen{Files: files(file("v")).Files, Env: env("/etc/x").Env}, state: StaleEnv},

		"pull":            {want: Want{How: Pull, Secret: "s"}, current: holds(""), state: Fresh, fine: true},
		"pull, no secret": {want: Want{How: Pull, Secret: "s"}, state: Missing},

		"swarm, older version": {
			kind: secret.Swarm, want: with(inFile, func(w *Want) { w.Mode, w.HasMode, w.Owned = 0o400, true, true }), seen: files(file("old")),
			current: Current{Exists: true, Digest: digest("v"), Name: "s.v2"}, state: StaleFile, says: `"s.v2"`,
			mend: "docker service update --secret-rm s --secret-add source=s.v2,target=s,uid=0,gid=0,mode=0400 web",
		},
		"swarm, origin moved on": {
			kind: secret.Swarm, want: inFile, seen: files(file("old")),
			current: Current{Exists: true, Digest: digest("v"), Name: "s", Origin: "s at kubernetes"}, state: StaleFile, says: "what s at kubernetes has now", mend: "secretx sync",
		},
		"swarm, changed in the container": {
			kind: secret.Swarm, want: inFile, seen: files(file("old")), current: Current{Exists: true, Digest: digest("v"), Name: "s"}, state: StaleFile, says: "something in the container", mend: "docker service update --force web",
		},
		"swarm, secret removed": {kind: secret.Swarm, want: inFile, seen: files(file("v")), state: StaleFile},
	} {
		object := "deployment/web"
		if test.kind == secret.Swarm {
			object = "service web"
		} else {
			test.kind = secret.Kubernetes
		}
		j := Judge{Kind: test.kind, Nonce: nonce, Now: now, Current: func(Want) Current { return test.current }}
		lines := j.Lines(Container{Object: object, Started: now.Add(-time.Minute), Wants: []Want{test.want}, Seen: test.seen, Unseen: test.unseen})
		if len(lines) == 0 {
			t.Errorf("%s: no line", name)
			continue
		}
		l := lines[0]
		if l.State != test.state || l.Fine != test.fine || !strings.Contains(l.Detail, test.says) || !strings.Contains(l.Mend, test.mend) {
			t.Errorf("%s: %s, fine %t, %q, %q", name, l.State, l.Fine, l.Detail, l.Mend)
		}
		if !l.Fine && l.Mend == "" && l.State != Unverifiable {
			t.Errorf("%s: %s, and nothing mends it", name, l.State)
		}
	}
}

func TestExtra(t *testing.T) {
	seen := Seen{Files: map[string]FileSeen{"/etc/a/known": file("v"), "/etc/a/other": file("x"), "/etc/b/file": file("y")}}
	c := Container{Object: "pod/web", Name: "web", Wants: []Want{{How: File, Secret: "s", Key: "known", Path: "/etc/a/known"}}, Seen: seen}
	for changed, want := range map[time.Duration]string{
		time.Hour:   "known fresh, /etc/a/other extra, /etc/b/file extra",
		time.Second: "known fresh, /etc/a/other pending, /etc/b/file extra", // a key that was removed
	} {
		j := Judge{Kind: secret.Kubernetes, Nonce: nonce, Now: now, Current: func(Want) Current {
			return Current{Exists: true, Digest: digest("v"), Changed: now.Add(-changed)}
		}}
		var got []string
		for _, l := range j.Lines(c) {
			name := l.Path
			if l.Key != "" {
				name = l.Key
			}
			got = append(got, name+" "+string(l.State))
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("changed %s ago: %s", changed, text)
		}
	}
	if lines := (Judge{}).Lines(Container{Over: true, Wants: c.Wants}); len(lines) != 0 {
		t.Errorf("an init container that is done has %d lines", len(lines))
	}
}
