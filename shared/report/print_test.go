package report

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var someColumns = []Column{
	{Name: "Secret", Always: true}, {Name: "State", State: true}, {Name: "Detail", Text: true}, {Name: "Note", Text: true},
}

func table(t testing.TB, rows []Row, options TableOptions) string {
	t.Helper()
	var b strings.Builder
	if err := Table(&b, someColumns, rows, options); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTableFits(t *testing.T) {
	long := strings.Repeat("under this name stands something else; ", 5)
	rows := []Row{{"db-login-of-the-payment-service", "unknown", long, "short"}, {"a", "in-sync", "", ""}}
	if full := table(t, rows, TableOptions{}); !strings.Contains(full, long) || strings.Contains(full, "\x1b") {
		t.Errorf("without a screen:\n%s", full)
	}
	if full := table(t, rows, TableOptions{Wide: true, Screen: Screen{Width: 80}}); !strings.Contains(full, long) {
		t.Errorf("wide:\n%s", full)
	}
	narrow := table(t, rows, TableOptions{Screen: Screen{Width: 80, Colours: true}})
	for _, part := range []string{"db-login-of-the-payment-service", "\x1b[33munknown\x1b[0m", "\x1b[32min-sync\x1b[0m", "…", "short", "SECRET "} {
		if !strings.Contains(narrow, part) {
			t.Errorf("%q is not in:\n%s", part, narrow)
		}
	}
}

// A line is no longer than the screen where texts alone can make room, and names are whole on any screen.
func TestTableFitsAnyScreen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-zä]{1,30}`)
		var rows []Row
		for range rapid.IntRange(1, 5).Draw(t, "rows") {
			rows = append(rows, Row{word.Draw(t, "name"), "fresh", rapid.StringMatching(`[a-z ]{0,200}`).Draw(t, "detail"), word.Draw(t, "note")})
		}
		width := rapid.IntRange(30+7+2*8+3, 200).Draw(t, "width") // names, the state, and the least of two texts
		var b strings.Builder
		if err := Table(&b, someColumns, rows, TableOptions{Screen: Screen{Width: width}}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Fatalf("a line of %d on a screen of %d: %s", n, width, line)
			}
		}
		for _, r := range rows {
			if !strings.Contains(b.String(), r[0]) {
				t.Fatalf("no %s in %s", r[0], b.String())
			}
		}
	})
}
