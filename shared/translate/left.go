package translate

import (
	"slices"
	"strings"
)

// secretsIn are the names of Secrets that something refers to which isn't translated, by what fields that refer
// to one are called everywhere: secretName, …SecretRef, imagePullSecrets.
func secretsIn(value any) []string {
	var names []string
	gatherSecrets(value, &names, 0)
	slices.Sort(names)
	return slices.Compact(names)
}

func gatherSecrets(value any, into *[]string, depth int) {
	const most = 20
	if depth > deepest || len(*into) >= most {
		return
	}
	switch v := value.(type) {
	case []any:
		for _, e := range v {
			gatherSecrets(e, into, depth+1)
		}
	case *object:
		for _, key := range v.keys {
			inner, there := v.values[key]
			if !there {
				continue
			}
			switch word := lower(key); {
			case word == "secretname":
				addName(inner, into)
			case strings.HasSuffix(word, "secretref") || strings.HasSuffix(word, "secretkeyref"):
				addName(field(inner, "name"), into)
			case word == "imagepullsecrets" || word == "secrets":
				if list, ok := inner.([]any); ok {
					for _, e := range list {
						addName(field(e, "name"), into)
					}
				}
			}
			gatherSecrets(inner, into, depth+1)
		}
	}
}

func field(value any, key string) any {
	if o, ok := value.(*object); ok {
		return o.values[key]
	}
	return nil
}

func addName(value any, into *[]string) {
	if s, ok := value.(scalar); ok && s.text != "" && len(s.text) <= 253 {
		*into = append(*into, s.text)
	}
}
