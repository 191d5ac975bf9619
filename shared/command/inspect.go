package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
	"github.com/secretx/secretx/shared/secret"
)

func newInspectCommand(host Host) *cobra.Command {
	var options bothOptions
	var printer Printer
	cmd := &cobra.Command{
		Use:   "inspect NAME...",
		Short: "Show all that is known of a secret on both sides, but for its values",
		Long: `Show all that is known of a secret on both sides, but for its values: versions, keys,
labels, what it is a mirror of and how it compares with that by what is noted on it,
its mirrors, and who uses it.

A name may be that of a secret, of one version of it, or of the secret that it is a
mirror of.`,
		Example: examples(host,
			"inspect OWN", "The secret, its mirrors and who uses them",
		),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, names []string) error {
			if err := printer.Check(); err != nil {
				return err
			}
			progress := newProgress(host)
			b, err := options.complete(host, progress.say)
			if err != nil {
				return err
			}
			return run(cmd.Context(), options.timeout, func(ctx context.Context) error {
				return runInspect(ctx, b, names, printer)
			})
		},
	}
	options.addFlags(cmd.Flags(), host.Native)
	printer = host.Printer(cmd.Flags(), report.InspectColumns)
	return cmd
}

func runInspect(ctx context.Context, b *both, names []string, printer Printer) error {
	found, err := b.scenes(ctx)
	if err != nil {
		return err
	}
	key, err := b.key(ctx, found)
	if err != nil {
		return err
	}
	d := report.Inspect{APIVersion: report.APIVersion, Kind: report.KindInspect, Objects: []report.Object{}, Ago: b.host.Ago}
	m, _ := mirrorsOf(found, key, plan.Options{})
	seen := map[string]bool{}
	for i, s := range found {
		d.Places = append(d.Places, listed(s))
		for _, versions := range s.families() {
			for at, object := range versions {
				meant := false
				for _, name := range names {
					if isMeant(object, name) {
						seen[name], meant = true, true
					}
				}
				if meant {
					o := objectOf(s, object, m.states[i][object.Name])
					o.Newest = s.place.Kind == secret.Swarm && at == len(versions)-1
					o.Mirrors = m.mirrors[i][object.Name]
					d.Objects = append(d.Objects, o)
				}
			}
		}
	}
	for _, name := range names {
		if !seen[name] {
			return fmt.Errorf("no secret %q at %s or %s", name, b.sides[0].name, b.sides[1].name)
		}
	}
	slices.SortStableFunc(d.Objects, func(a, b report.Object) int { return compareObjects(a, b, found[0].place.Name) })
	return show(b.host, printer, d)
}

// compareObjects puts this side first, and versions in their order.
func compareObjects(a, b report.Object, first string) int {
	rank := func(o report.Object) string {
		at, sequence := "1", o.Sequence
		if o.Place == first {
			at = "0"
		}
		name := o.Name
		if o.Logical != "" {
			name = o.Logical
		}
		return fmt.Sprintf("%s\x00%s\x00%09d", at, name, sequence)
	}
	return strings.Compare(rank(a), rank(b))
}

// isMeant tells whether a name means an object: its own, that of all its versions, or its origin's.
func isMeant(object secret.Secret, name string) bool {
	if consumers.Matches(object, name) {
		return true
	}
	return object.Mark != nil && slices.ContainsFunc(object.Mark.Parts, func(p secret.Part) bool { return p.Secret == name })
}

func objectOf(s scene, object secret.Secret, item plan.Item) report.Object {
	o := report.Object{
		Side: string(s.place.Kind), Place: s.place.Name, Name: object.Name, ID: object.UID, Version: object.Version,
		Type: object.Type, Immutable: object.Immutable, Created: object.Created, Changed: object.Changed, Labels: object.Labels,
		Internal: object.Internal, Unreadable: object.Unreadable, Damaged: object.Damaged, Keys: []string{},
		Consumers: report.UsedSecretOf(object.Name, object.Name, s.used[object.Name]).Consumers,
	}
	for _, k := range object.Keys {
		o.Keys = append(o.Keys, k.Name)
	}
	o.Sequence, o.Rollout = object.Lineage.Sequence, string(object.Lineage.Rollout)
	if name := object.LogicalName(); name != object.Name {
		o.Logical = name
	}
	if object.Mark == nil {
		return o
	}
	o.Mirror = &report.Mirror{
		Place: object.Mark.Place, Origin: object.Mark.Origin,
		State: string(item.State), Reason: item.Reason, Parts: []report.MirrorPart{},
	}
	for _, p := range object.Mark.Parts {
		part := report.MirrorPart{Key: p.Key, Secret: p.Secret, Origin: p.OriginKey, UID: p.UID, Version: p.Version}
		for _, k := range item.Keys {
			if k.Name == p.OriginKey {
				part.State = string(k.State)
			}
		}
		o.Mirror.Parts = append(o.Mirror.Parts, part)
	}
	return o
}
