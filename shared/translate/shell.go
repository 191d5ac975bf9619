package translate

import "strings"

// quote writes a word so that every shell takes it as it is.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=,@%+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Quote writes words so that every shell takes them as they are.
func Quote(words []string) string { return quoteAll(words) }

func quoteAll(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// shellText writes a command, each group of words on a line of its own.
func shellText(groups [][]string) string {
	quoted := make([]string, len(groups))
	for i, g := range groups {
		quoted[i] = quoteAll(g)
	}
	return strings.Join(quoted, " \\\n  ") + "\n"
}
