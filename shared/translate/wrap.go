package translate

import (
	"slices"
	"strings"
)

// envScript gives a command variables whose values are secrets, byte for byte: its arguments are NAME FILE
// pairs, --, and the command. cat's newline at the end would be lost in $(…) without the dot behind it.
const envScript = `while [ "$1" != -- ]; do v=$(cat "$2" && echo .) || exit; export "$1=${v%.}"; shift 2; done; shift; exec "$@"`

// envName is what the script calls itself.
const envName = "env-from-secrets"

// envDirectory has the files that the script reads, and nobody else.
const envDirectory = swarmDirectory + "/env/"

// wrap makes a command of the script, the variables' files and the command that it runs.
func wrap(vars []Pair, command []string) []string {
	all := []string{"/bin/sh", "-c", envScript, envName}
	for _, v := range vars {
		all = append(all, v.Name, v.Value)
	}
	return append(append(all, "--"), command...)
}

// unwrap finds the variables of a container whose command is the script, so that the way back is exact.
func unwrap(c *Container) {
	head := []string{"/bin/sh", "-c", envScript, envName}
	// docker service create takes but one word as the entrypoint.
	command := append(slices.Clone(c.Command), c.Args...)
	if len(c.Command) == 0 || len(command) < len(head) || !slices.Equal(command[:len(head)], head) {
		return
	}
	rest := command[len(head):]
	files := slices.Clone(c.Files)
	var vars []Var
	for len(rest) > 1 && rest[0] != "--" {
		i := slices.IndexFunc(files, func(f File) bool { return f.Path == rest[1] })
		if i < 0 {
			return
		}
		ref := files[i].Ref
		vars = append(vars, Var{Name: rest[0], From: &ref})
		rest = rest[2:]
	}
	if len(rest) == 0 || rest[0] != "--" {
		return
	}
	c.Env = slices.Clone(c.Env)
	for _, v := range vars {
		c.setEnv(&document{}, v)
	}
	c.Files = slices.DeleteFunc(files, func(f File) bool { return strings.HasPrefix(f.Path, envDirectory) && !c.Health.reads(f.Path) })
	c.Command, c.Args = rest[1:], nil
}
