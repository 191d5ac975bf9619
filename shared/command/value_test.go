package command

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGenerate(t *testing.T) {
	for text, alphabet := range map[string]string{"40": alphabets["alnum"], "1:hex": alphabets["hex"], "500:digits": "0123456789", "7:ab": "ab", "9:äöü": "äöü"} {
		length, letters, err := parseGenerate(text)
		if err != nil {
			t.Fatal(text, err)
		}
		value := string(generate(length, letters).Reveal())
		if utf8.RuneCountInString(value) != length || strings.Trim(value, alphabet) != "" {
			t.Errorf("%s: %d characters, or some of another alphabet", text, utf8.RuneCountInString(value))
		}
	}
	for _, text := range []string{"", "0", "-1", "x", "8:", "8:a", "8:aaa", "100001", "8:\xff"} {
		if _, _, err := parseGenerate(text); err == nil {
			t.Errorf("%q passes", text)
		}
	}
	if a, b := generate(32, alphabets["alnum"]), generate(32, alphabets["alnum"]); a.Equal(b) {
		t.Error("the same twice")
	}
	// Every letter is drawn, and about as often as any other.
	counts := map[rune]int{}
	for _, r := range string(generate(20_000, "abcdefgh").Reveal()) {
		counts[r]++
	}
	for r, n := range counts {
		if len(counts) != 8 || n < 2200 || n > 2800 {
			t.Errorf("%c: %d of 20,000", r, n)
		}
	}
}

func TestEnvFile(t *testing.T) {
	values, err := parseEnvFile("f", []byte("\xef\xbb\xbf# comment\r\n\nA=1\r\n B = x y=z \nEMPTY=\n"))
	if err != nil || len(values) != 3 {
		t.Fatal(values, err)
	}
	for i, want := range [][2]string{{"A", "1"}, {"B", " x y=z "}, {"EMPTY", ""}} {
		if values[i].key != want[0] || string(values[i].value.Reveal()) != want[1] {
			t.Errorf("line %d is not %v", i, want)
		}
	}
	for _, text := range []string{"", "hunter2", "=hunter2", "A=1\nhun ter2=3"} {
		if _, err := parseEnvFile("f", []byte(text)); err == nil || strings.Contains(err.Error(), "hun") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzEnvFile(f *testing.F) {
	f.Add([]byte("A=1\n# x\nB=2"))
	f.Fuzz(func(t *testing.T, content []byte) {
		values, err := parseEnvFile("f", content)
		for _, v := range values {
			if v.key == "" || !bytes.Contains(content, v.value.Reveal()) {
				t.Errorf("%q, %v", v.key, err)
			}
		}
	})
}

func TestSources(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "password")
	if err := os.WriteFile(file, []byte("line\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	host := Host{In: strings.NewReader("piped"), Err: &said, Terminal: func() bool { return false }}
	read := func(o valueOptions) string {
		t.Helper()
		if err := o.check(); err != nil {
			return err.Error()
		}
		values, err := o.read(context.Background(), host)
		if err != nil {
			return err.Error()
		}
		text := ""
		for _, v := range values {
			text += v.key + "=" + string(v.value.Reveal()) + ";"
		}
		return text
	}
	for want, o := range map[string]valueOptions{
		"=line\r\n;":            {files: []string{file}},
		"k=line;":               {files: []string{"k=" + file}, trim: true},
		"x=line;":               {files: []string{file}, key: "x", trim: true},
		"password=line;y=line;": {files: []string{file, "y=" + file}, trim: true},
		"=piped;":               {},
	} {
		if got := read(o); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
	if !strings.Contains(said.String(), "--trim-newline") {
		t.Errorf("no word about the newline: %q", &said)
	}
	for _, o := range []valueOptions{
		{files: []string{file}, generate: "8"}, {files: []string{"-", "a=-"}}, {files: []string{folder + "/none"}},
		{files: []string{"a=" + file, "a=" + file}}, {envFile: file}, {}, // nothing more is piped in
	} {
		if got := read(o); strings.Contains(got, "=line") || strings.Contains(got, ";") {
			t.Errorf("%+v gives %q", o, got)
		}
	}
}
