package rights

import (
	"fmt"
	"slices"
	"strings"
)

// Row is one line of the table in docs/rights.md. The end-to-end tests have a case for each.
type Row struct {
	Name string // of the test's case
	What string // in Markdown
	Args string // what rbac is called with, as kubectl secretx
	Use  Use
}

// Rows are all uses that differ in what they take. NAME and web stand for whatever is named.
var Rows = []Row{
	{"diff-name", "`diff NAME`, with the origins here", "NAME --for diff", Use{Verb: "diff", Side: Origins, Secrets: name}},
	{"diff-all", "`diff --all`, `-l`, `--prune`, `--into`, with the origins here", "--all --for diff", Use{Verb: "diff", Side: Origins, Select: true}},
	{"diff-mirror", "`diff NAME`, with the mirrors here", "NAME --for diff --from swarm --to kubernetes", Use{Verb: "diff", Side: Mirrors, Secrets: name}},
	{"diff-mirrors", "`diff --all` and so on, with the mirrors here", "--all --for diff --from swarm --to kubernetes", Use{Verb: "diff", Side: Mirrors, Select: true}},
	{"sync-name", "`sync NAME` from here", "NAME", Use{Verb: "sync", Side: Origins, Secrets: name}},
	{"sync-all", "`sync --all` and so on, from here", "--all", Use{Verb: "sync", Side: Origins, Select: true}},
	{"sync-mirror", "`sync NAME` to here", "NAME --from swarm --to kubernetes", Use{Verb: "sync", Side: Mirrors, Secrets: name}},
	{"sync-mirrors", "`sync --all` and so on, to here", "--all --from swarm --to kubernetes", Use{Verb: "sync", Side: Mirrors, Select: true}},
	{"sync-prune", "`sync --prune` to here", "--all --prune --from swarm --to kubernetes", Use{Verb: "sync", Side: Mirrors, Select: true, Prune: true}},
	{"sync-immutable", "`sync` to here of mirrors that are immutable or change their type, and with `--force`", "NAME --immutable --from swarm --to kubernetes", Use{Verb: "sync", Side: Mirrors, Secrets: name, Immutable: true}},
	{"sync-rollout", "`sync NAME --rollout` to here, where `deployment/web` uses it", "NAME deployment/web --rollout --from swarm --to kubernetes", Use{Verb: "sync", Side: Mirrors, Secrets: name, Rollout: true, Targets: web}},
	{"watch-name", "`sync NAME --watch` from here", "NAME --watch", Use{Verb: "sync", Side: Origins, Secrets: name, Watch: true}},
	{"watch-all", "`sync --all --watch` and so on, from here", "--all --watch", Use{Verb: "sync", Side: Origins, Select: true, Watch: true}},
	{"watch-mirror", "`sync NAME --watch` to here", "NAME --watch --from swarm --to kubernetes", Use{Verb: "sync", Side: Mirrors, Secrets: name, Watch: true}},
	{"watch-mirrors", "`sync --all --watch` and so on, to here", "--all --watch --from swarm --to kubernetes", Use{Verb: "sync", Side: Mirrors, Select: true, Watch: true}},
	{"watch-events", "`sync NAME --watch --events` from here", "NAME --watch --events", Use{Verb: "sync", Side: Origins, Secrets: name, Watch: true, Events: true}},
	{"peek-pod", "`peek-in-container POD`", "NAME pod/web --for peek", Use{Verb: "peek-in-container", Secrets: name, Targets: []Target{{"pods", "web"}}}},
	{"peek-owner", "`peek-in-container TYPE/NAME`", "NAME deployment/web --for peek", Use{Verb: "peek-in-container", Secrets: name, Targets: web}},
	{"peek-cronjob", "`peek-in-container cronjob/NAME`", "NAME cronjob/web --for peek", Use{Verb: "peek-in-container", Secrets: name, Targets: []Target{{"cronjobs.batch", "web"}}}},
	{"peek-selector", "`peek-in-container -l SELECTOR`", "NAME -l app=web --for peek", Use{Verb: "peek-in-container", Secrets: name, Selector: true}},
	{"peek-ephemeral", "`peek-in-container POD --allow-ephemeral`", "NAME pod/web --for peek --allow-ephemeral", Use{Verb: "peek-in-container", Secrets: name, Targets: []Target{{"pods", "web"}}, Ephemeral: true}},
	{"verify", "`verify`", "--for verify", Use{Verb: "verify"}},
	{"consumers", "`consumers`", "--for consumers", Use{Verb: "consumers"}},
	{"ls", "`ls`", "--for ls", Use{Verb: "ls"}},
	{"inspect", "`inspect`", "--for inspect", Use{Verb: "inspect"}},
	{"ls-all", "`ls -A`: a ClusterRole", "--for ls -A", Use{Verb: "ls", AllNamespaces: true}},
	{"create", "`create NAME`", "NAME --for create", Use{Verb: "create", Secrets: name}},
	{"create-both", "`create NAME --in both`", "NAME --for create --in-both", Use{Verb: "create", Secrets: name, Both: true}},
	{"rotate", "`rotate NAME`, where `deployment/web` uses it", "NAME deployment/web --for rotate", Use{Verb: "rotate", Secrets: name, Targets: web}},
	{"rotate-immutable", "`rotate NAME` of an immutable Secret", "NAME deployment/web --for rotate --immutable", Use{Verb: "rotate", Secrets: name, Targets: web, Immutable: true}},
	{"rm", "`rm NAME`", "NAME --for rm", Use{Verb: "rm", Secrets: name}},
	{"prune", "`prune`", "--for prune", Use{Verb: "prune"}},
	{"current", "`current NAME`", "--for current", Use{Verb: "current"}},
	{"translate", "`translate TYPE/NAME`", "NAME deployment/web --for translate", Use{Verb: "translate", Secrets: name, Targets: web}},
	{"translate-selector", "`translate -l SELECTOR`; with a type before it, `list` on that one alone", "NAME -l app=web --for translate", Use{Verb: "translate", Secrets: name, Selector: true}},
	{"doctor", "`doctor`", "--for doctor", Use{Verb: "doctor"}},
}

var (
	name = []string{"NAME"}
	web  = []Target{{"deployments.apps", "web"}}
)

// Table is the table of all uses in Markdown.
func Table() (string, error) {
	var text strings.Builder
	text.WriteString("| use | needed | can be left out, and what for |\n|---|---|---|\n")
	for _, row := range Rows {
		rules, err := For(row.Use)
		if err != nil {
			return "", fmt.Errorf("%s: %w", row.Name, err)
		}
		var needed Rules
		optional := map[string]Rules{}
		var reasons []string
		for _, r := range rules {
			switch {
			case r.Resource == "namespaces" && !row.Use.Cluster(): // said above the table
			case r.Without == "":
				needed = append(needed, r)
			default:
				if len(optional[r.Without]) == 0 {
					reasons = append(reasons, r.Without)
				}
				optional[r.Without] = append(optional[r.Without], r)
			}
		}
		var rest []string
		for _, reason := range reasons {
			rest = append(rest, optional[reason].text()+": "+reason)
		}
		fmt.Fprintf(&text, "| %s | %s | %s |\n", row.What, needed.text(), strings.Join(rest, "; "))
	}
	return text.String(), nil
}

// text says rules in a line; the long list of kinds that may refer to a Secret has a name.
func (all Rules) text() string {
	var parts, missing []string
	referred := 0
	for _, kind := range referring {
		if slices.ContainsFunc(all, func(r Rule) bool { return r.Plural() == kind && slices.Contains(r.Verbs, "list") && len(r.Names) == 0 }) {
			referred++
		} else {
			missing = append(missing, "`"+kind+"`")
		}
	}
	const most = 2
	named := len(missing) <= most
	if named {
		part := "`list` on the referring kinds"
		if len(missing) > 0 {
			part += " but " + strings.Join(missing, ", ")
		}
		parts = append(parts, part)
	}
	for _, r := range all {
		verbs := r.Verbs
		if named && len(r.Names) == 0 && slices.Contains(referring, r.Plural()) {
			verbs = slices.DeleteFunc(slices.Clone(verbs), func(v string) bool { return v == "list" })
		}
		if len(verbs) == 0 {
			continue
		}
		part := "`" + strings.Join(verbs, "`, `") + "` on `" + r.Plural() + "`"
		if slices.Equal(r.Names, []string{KeyName}) {
			parts = append(parts, strings.TrimSuffix(part, "`secrets`")+"the installation key")
			continue
		}
		for i, n := range r.Names {
			part += map[bool]string{true: " `", false: ", `"}[i == 0] + n + "`"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}
