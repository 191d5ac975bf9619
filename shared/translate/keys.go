package translate

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/secretx/secretx/shared/secret"
)

// spread makes a file or a variable of each key, where all keys of a Secret are meant. Which those are has to
// be known; where it isn't, those are taken that paths in variables and arguments name.
func spread(source *Source, w *Workload) {
	keysOf := func(name string) ([]string, bool) {
		i := slices.IndexFunc(source.Secrets, func(s secret.Secret) bool { return s.Name == name })
		if i < 0 {
			return nil, false
		}
		var keys []string
		for _, k := range source.Secrets[i].Keys {
			keys = append(keys, k.Name)
		}
		return keys, true
	}
	budget := mostScanned
	for i := range w.Containers {
		c := &w.Containers[i]
		c.Files, c.Env, c.elsewhere = slices.Clone(c.Files), slices.Clone(c.Env), slices.Clone(c.elsewhere)
		// A variable of env wins, and then that of the last Secret.
		own, at, hidden := map[string]bool{}, map[string]int{}, map[string]string{}
		n := len(c.Env)
		for _, v := range c.Env {
			own[v.Name] = true
		}
		for _, from := range c.EnvFrom {
			keys, known := keysOf(from.Secret)
			if !known {
				w.note("the variables of "+from.Secret+" were left out",
					fmt.Sprintf("all its keys are meant, and it isn't known which there are: --keys %s=KEY,KEY says so", from.Secret))
				c.elsewhere = append(c.elsewhere, from.Secret)
			} else {
				w.note("the variables are those of the keys that "+from.Secret+" has now", "a Swarm secret is one value: a key that comes later has to be added to the service")
			}
			for _, key := range keys {
				name := from.Prefix + key
				v := Var{Name: name, From: &Ref{from.Secret, key}, Optional: from.Optional}
				if i, there := at[name]; there {
					c.Env[i] = v
				} else if own[name] {
					hidden[name] = from.Secret
				} else {
					at[name] = len(c.Env)
					c.Env = append(c.Env, v)
				}
			}
		}
		expandAll(w, c, n, hidden)
		for _, whole := range c.Whole {
			keys, known := keysOf(whole.Secret)
			if !known {
				keys = named(append(mentions(c), source.texts...), whole.Path, &budget)
				how := "of it, those are taken that variables, arguments and configuration name: " + strings.Join(keys, ", ")
				if len(keys) == 0 {
					how = "nothing of it was taken"
				}
				w.note(fmt.Sprintf("all keys of %s are meant at %s; %s", whole.Secret, whole.Path, how),
					fmt.Sprintf("a Swarm secret is one value, and it isn't known which keys there are: --keys %s=KEY,KEY says so", whole.Secret))
			}
			for _, key := range keys {
				c.addFile(w, File{Ref: Ref{whole.Secret, key}, Path: path.Join(whole.Path, key), Mode: whole.Mode, UID: "0", GID: whole.GID, Optional: whole.Optional})
			}
			if known {
				w.note(fmt.Sprintf("the files at %s are those of the keys that %s has now", whole.Path, whole.Secret),
					"a Swarm secret is one value: a key that comes later has to be added to the service")
			}
		}
		c.Whole, c.EnvFrom = nil, nil
	}
}

// mostScanned is how much text is looked through for the names of keys.
const mostScanned = 64 << 20

// named are the keys that paths below a directory speak of.
func named(texts []string, dir string, budget *int) []string {
	var keys []string
	for _, text := range texts {
		if *budget -= len(text); *budget < 0 {
			break
		}
		for {
			_, rest, found := strings.Cut(text, strings.TrimSuffix(dir, "/")+"/")
			if !found {
				break
			}
			end := strings.IndexFunc(rest, func(r rune) bool {
				return r != '-' && r != '_' && r != '.' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
			})
			if end < 0 {
				end = len(rest)
			}
			if key := strings.TrimRight(rest[:end], "."); key != "" && !slices.Contains(keys, key) && len(keys) < 100 {
				keys = append(keys, key)
			}
			text = rest
		}
	}
	slices.Sort(keys)
	return keys
}

func mentions(c *Container) []string {
	texts := append(slices.Clone(c.Command), c.Args...)
	for _, v := range c.Env {
		texts = append(texts, v.Value)
	}
	return texts
}
