package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

const canary = "c4nary-in-a-coal-mine"

// holder hides a Value where fmt may not call its methods.
type holder struct {
	hidden  Value
	Shown   Value
	pointer *Value
	many    []Value
	named   map[string]Value
	key     FingerprintKey
}

func TestValueRedactsItself(t *testing.T) {
	v := NewValue([]byte(canary))
	key, err := ParseFingerprintKey(NewValue([]byte("canary-canary-canary-canary-1234")))
	if err != nil {
		t.Fatal(err)
	}
	h := holder{v, v, &v, []Value{v}, map[string]Value{"a": v}, key}
	secret := Secret{Name: "s", Keys: []Key{{Name: "k", Value: v}}}
	var printed []string
	for _, x := range []any{v, &v, h, &h, []any{h}, secret, &secret, fmt.Errorf("wrapped: %v", v), errors.Join(fmt.Errorf("%w", fmt.Errorf("%+v", h)))} {
		for _, verb := range "vsqxXdbocUeEfgGtTp" {
			for _, flags := range []string{"", "+", "#", " ", "0", "-", "12", ".3"} {
				printed = append(printed, fmt.Sprintf("%"+flags+string(verb), x))
			}
		}
		j, _ := json.Marshal(x)
		y, _ := yaml.Marshal(x)
		printed = append(printed, string(j), string(y))
		for _, make := range []func(*bytes.Buffer) slog.Handler{
			func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			var b bytes.Buffer
			slog.New(make(&b)).Info("m", "x", x)
			printed = append(printed, b.String())
		}
	}
	printed = append(printed, v.String())
	for _, text := range printed {
		for _, form := range []string{
			canary, "canary-canary", base64.StdEncoding.EncodeToString([]byte(canary)),
			fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]"),
			strings.Trim(fmt.Sprintf("%#v", []byte(canary)), "[]byte{}"),
		} {
			if strings.Contains(text, form) {
				t.Errorf("a value is printed: %s", text)
			}
		}
	}
	if err := gob.NewEncoder(&bytes.Buffer{}).Encode(v); err == nil {
		t.Error("gob takes a value")
	}
	if err := json.Unmarshal([]byte(`"x"`), &v); err == nil {
		t.Error("a value is read from JSON")
	}
	if string(v.Reveal()) != canary {
		t.Error("and the value is lost")
	}
}

func TestValueEquality(t *testing.T) {
	a, b, empty := NewValue([]byte("a")), NewValue([]byte("b")), NewValue(nil)
	if !a.Equal(NewValue([]byte("a"))) || a.Equal(b) || a.Equal(Value{}) || (Value{}).Equal(Value{}) || !empty.Equal(NewValue([]byte{})) {
		t.Error("equality is off")
	}
	if (Value{}).Known() || !empty.Known() {
		t.Error("an empty value is known")
	}
	a.Clear()
	if a.Equal(NewValue([]byte("a"))) {
		t.Error("not cleared")
	}
}

func TestRedact(t *testing.T) {
	raw := "line one\nline \"two\""
	for _, text := range []string{
		"cannot parse " + raw, fmt.Sprintf("invalid value %q", raw), "data: " + base64.StdEncoding.EncodeToString([]byte(raw)),
	} {
		if got := Redact(text, NewValue([]byte(raw))); strings.Contains(got, "two") || strings.Contains(got, "bGluZSB") || !strings.Contains(got, Redacted) {
			t.Errorf("%s", got)
		}
	}
	if got := Redact(`value "ab" is bad`, NewValue([]byte("ab"))); got != Redacted {
		t.Error(got)
	}
	if got := Redact("a plain error", NewValue([]byte("a"))); got != "a plain error" {
		t.Error(got)
	}
	if got := Redact("outer-inner", NewValue([]byte("inner")), NewValue([]byte("outer-inner"))); got != Redacted {
		t.Error(got)
	}
}

func TestFingerprints(t *testing.T) {
	key, v := NewFingerprintKey(), NewValue([]byte("hunter2"))
	f := key.Fingerprint("swarm:1", "db.password", "db.password", v)
	if !key.Judges(f) || !key.Matches(f, "swarm:1", "db.password", "db.password", v) {
		t.Error("doesn't know its own")
	}
	others := []string{
		key.Fingerprint("swarm:2", "db.password", "db.password", v),
		key.Fingerprint("swarm:1", "db.passwor", "ddb.password", v),
		key.Fingerprint("swarm:1", "db.password", "db.password", NewValue([]byte("hunter3"))),
	}
	for _, o := range others {
		if o == f {
			t.Errorf("not separated: %s", o)
		}
	}
	other := NewFingerprintKey()
	if other.Judges(f) || (FingerprintKey{}).Judges(f) || key.Judges("") {
		t.Error("judges what it can't")
	}
	if _, err := ParseFingerprintKey(NewValue([]byte("short"))); err == nil {
		t.Error("takes a short key")
	}
	again, err := ParseFingerprintKey(key.Value())
	if err != nil || !again.Matches(f, "swarm:1", "db.password", "db.password", v) {
		t.Error("does not survive storage")
	}
}

func genText() *rapid.Generator[string] { return rapid.StringN(1, 20, -1) }

func genPart(key string) *rapid.Generator[Part] {
	return rapid.Custom(func(t *rapid.T) Part {
		p := Part{
			Key: key, Secret: genText().Draw(t, "secret"), OriginKey: genText().Draw(t, "originKey"),
			UID: rapid.String().Draw(t, "uid"), Version: rapid.String().Draw(t, "version"), Fingerprint: rapid.String().Draw(t, "fingerprint"),
		}
		if rapid.Bool().Draw(t, "formed") {
			p.Form = &Form{genText().Draw(t, "s"), genText().Draw(t, "k"), rapid.String().Draw(t, "t"), rapid.Bool().Draw(t, "i")}
		}
		return p
	})
}

func TestMarksSurviveMetadata(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Mark{
			Origin: genText().Draw(t, "origin"), Place: rapid.String().Draw(t, "place"), Parts: []Part{genPart("object").Draw(t, "part")},
		}
		l := Lineage{Name: genText().Draw(t, "name"), Sequence: rapid.IntRange(1, 1<<30).Draw(t, "sequence"), Rollout: rapid.SampledFrom([]Rollout{"", Pending, Failed}).Draw(t, "rollout")}
		if l.Rollout == Pending {
			l.Owner, l.Lifetime = rapid.String().Draw(t, "owner"), time.Duration(rapid.IntRange(1, 1<<20).Draw(t, "lifetime"))*time.Second
		}
		s := Secret{Name: "object", Mark: m, Lineage: l}
		got := Secret{Name: "object"}
		if got.ReadLabels(s.OwnLabels()); got.Damaged != "" || !reflect.DeepEqual(s, got) {
			t.Fatalf("labels: %s\n%+v\n%+v", got.Damaged, s, got)
		}
		m.Parts = append(m.Parts, genPart("other").Draw(t, "other"))
		got = Secret{Name: "object"}
		if got.ReadAnnotations(s.OwnAnnotations()); got.Damaged != "" || !reflect.DeepEqual(s, got) {
			t.Fatalf("annotations: %s\n%+v\n%+v", got.Damaged, s, got)
		}
		if user := UserLabels(s.OwnLabels()); len(user) != 0 {
			t.Fatalf("ours taken for the user's: %v", user)
		}
	})
}

func TestDamagedMarks(t *testing.T) {
	m := &Mark{Origin: "o", Place: "p", Parts: []Part{{Key: "n", Secret: "s", OriginKey: "k", Form: &Form{Secret: "s", Key: "k"}}}}
	s := Secret{Name: "n", Mark: m, Lineage: Lineage{Name: "n", Sequence: 1, Rollout: Pending, Owner: "me", Lifetime: time.Minute}}
	for field := range s.OwnLabels() {
		for _, wrong := range []string{"", "{"} {
			labels := maps.Clone(s.OwnLabels())
			labels[field] = wrong
			got := Secret{Name: "n"}
			if got.ReadLabels(labels); got.Damaged == "" && reflect.DeepEqual(got, s) {
				t.Errorf("%s=%q goes unnoticed", field, wrong)
			}
		}
	}
	var stranger, half Secret
	if stranger.ReadLabels(map[string]string{"app": "web"}); stranger.Mark != nil || stranger.Damaged != "" || stranger.Lineage.Known() {
		t.Error("a stranger's labels are not a mark")
	}
	if half.ReadAnnotations(map[string]string{AnnotationPrefix + "origin": "o"}); half.Damaged == "" {
		t.Error("half a mark")
	}
}
