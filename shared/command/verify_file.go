package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/secretx/secretx/shared/mirror"
	"github.com/secretx/secretx/shared/plan"
	"github.com/secretx/secretx/shared/report"
)

// runVerifyFiles proves all mirrors that files declare, those of the same two endpoints together.
func runVerifyFiles(ctx context.Context, groups []*group, options verifyOptions, host Host, printer Printer) error {
	each(groups, func(g *group) { g.verified, g.err = g.verify(ctx, options) })
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := collisions(groups); err != nil {
		return err
	}
	d := report.Verifies{APIVersion: report.APIVersion, Kind: report.KindVerifies}
	for _, g := range groups {
		one := g.verified
		if g.err != nil {
			one = report.Verify{APIVersion: report.APIVersion, Kind: report.KindVerify, Secrets: []report.Node{}, Error: g.err.Error()}
		}
		for _, m := range g.declared {
			one.SecretMirrors = append(one.SecretMirrors, m.Name)
		}
		d.Items = append(d.Items, one)
	}
	d.Judge()
	if err := show(host, printer, d); err != nil {
		return err
	}
	switch {
	case d.Summary.Errors > 0:
		return &ExitError{Code: ExitUsage}
	case !d.Summary.Fine:
		return &ExitError{Code: ExitDifferent}
	}
	return nil
}

func (g *group) verify(ctx context.Context, options verifyOptions) (report.Verify, error) {
	b := &both{host: g.host, say: g.say, sides: [2]side{{g.From, g.fromName, true}, {g.To, g.toName, true}}}
	found, err := b.scenes(ctx)
	if err != nil {
		return report.Verify{}, err
	}
	g.sides.From, g.sides.To = found[0].side(), found[1].side()
	ready := plan.Prepare(g.sides.From, g.sides.To)
	var names []string
	for _, w := range g.Wanted {
		for _, ref := range ready.Selected(w.Options) {
			names = append(names, ref.Name)
		}
	}
	if g.Key, err = b.key(ctx, found); err != nil {
		return report.Verify{}, err
	}
	if g.planned, err = g.Compare(ctx, g.sides, mirror.AskNothing); err != nil {
		return report.Verify{}, err
	}
	d := report.Verify{APIVersion: report.APIVersion, Kind: report.KindVerify, Secrets: []report.Node{}}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 0 { // no names would mean all
		if d, err = b.verify(ctx, found, options, names); err != nil {
			return d, err
		}
	}
	d.Secrets = append(d.Secrets, g.absent()...)
	return d, nil
}

// absent are nodes of what is declared and can't be proven, because it isn't there or isn't a mirror.
func (g *group) absent() (nodes []report.Node) {
	for i, one := range g.planned {
		if one.Err != nil {
			nodes = append(nodes, report.Node{
				Kind: report.NodeMirror, Name: g.declared[i].Name, Place: g.sides.To.Place.Name, State: string(plan.Missing), Detail: one.Err.Error(),
			})
		}
		for _, item := range one.Plan.Items {
			if item.Owned && item.State != plan.Orphan {
				continue
			}
			node := report.Node{
				Kind: report.NodeMirror, Name: item.Name, Place: g.sides.To.Place.Name, State: string(item.State),
				Detail: strings.TrimPrefix(fmt.Sprintf("%s; of %s", item.Reason, strings.Join(item.Origins, ", ")), "; "),
			}
			if item.State == plan.Missing {
				node.Mend = "Make it: secretx sync -f " + g.declared[i].At.File
			}
			nodes = append(nodes, node)
		}
	}
	return nodes
}
