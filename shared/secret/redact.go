package secret

import (
	"encoding/base64"
	"sort"
	"strconv"
	"strings"
)

// shortest is the length in bytes below which a value found in a text says nothing: replacing each
// "a" would destroy the text, and show what the value is.
const shortest = 4

// Redact takes each value out of a text that somebody else wrote, such as an API's error: as it is,
// quoted, and in base64. A text that may quote a value too short to look for is dropped whole.
func Redact(text string, values ...Value) string {
	var forms []string
	for _, v := range values {
		b := v.Reveal()
		if len(b) == 0 {
			continue
		}
		raw := string(b)
		quoted := strconv.Quote(raw)
		encoded := base64.StdEncoding.EncodeToString(b)
		if len(b) < shortest {
			if strings.Contains(text, quoted) || strings.Contains(text, "'"+raw+"'") || strings.Contains(text, strconv.Quote(encoded)) {
				return Redacted
			}
			continue
		}
		forms = append(forms, raw, strings.TrimSpace(raw), quoted[1:len(quoted)-1], encoded, strings.TrimRight(encoded, "="), base64.URLEncoding.EncodeToString(b))
	}
	// Longest first, so that a value inside another doesn't leave the rest of that one standing.
	sort.Slice(forms, func(i, j int) bool { return len(forms[i]) > len(forms[j]) })
	for _, f := range forms {
		if len(f) >= shortest {
			text = strings.ReplaceAll(text, f, Redacted)
		}
	}
	return text
}
