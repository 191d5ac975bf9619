package report

import (
	"slices"
	"strconv"

	"github.com/secretx/secretx/shared/consumers"
	"github.com/secretx/secretx/shared/endpoint"
)

// KindConsumers is the kind of a Consumers.
const KindConsumers = "Consumers"

// Consumers is the result of consumers.
type Consumers struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Places     []ConsumerSide `json:"places"`
	// Unused tells that only secrets without any consumer were asked for.
	Unused bool `json:"unused,omitempty"`
}

// ConsumerSide is what was found at one endpoint.
type ConsumerSide struct {
	Place
	// Unreachable says why this side was left out, which happens only where it wasn't asked for.
	Unreachable string `json:"unreachable,omitempty"`
	// Blind says what could not be looked at: while there is any, nothing is known to be unused.
	Blind   []string     `json:"blind,omitempty"`
	Secrets []UsedSecret `json:"secrets"`
}

// UsedSecret is a secret and its consumers.
type UsedSecret struct {
	Name string `json:"name"`
	// Logical is the name that all versions of a Swarm secret share, where it differs.
	Logical   string     `json:"logicalName,omitempty"`
	Missing   bool       `json:"missing,omitempty"` // it is referred to, and isn't there
	Consumers []Consumer `json:"consumers"`
}

// Consumer is one reference to a secret.
type Consumer struct {
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Owner    string `json:"owner,omitempty"` // KIND/NAME
	Stack    string `json:"stack,omitempty"`
	Running  bool   `json:"running,omitempty"` // it holds the secret now
	How      string `json:"how"`
	Where    string `json:"where,omitempty"`  // in which of its containers
	Target   string `json:"target,omitempty"` // path or variable
	Key      string `json:"key,omitempty"`
	Optional bool   `json:"optional,omitempty"`
	Previous bool   `json:"previous,omitempty"` // only a rollback would need it
}

// PlaceOf is one side in a document.
func PlaceOf(p endpoint.Place) Place { return placeOf(p) }

// UsedSecretOf is a secret in a document.
func UsedSecretOf(name, logical string, references []consumers.Reference) UsedSecret {
	u := UsedSecret{Name: name, Consumers: make([]Consumer, 0, len(references))}
	if logical != name {
		u.Logical = logical
	}
	for _, r := range references {
		u.Consumers = append(u.Consumers, consumerOf(r))
	}
	return u
}

func consumerOf(r consumers.Reference) Consumer {
	return Consumer{
		Kind: r.Consumer.Kind, Name: r.Consumer.Name, Owner: r.Consumer.Owner, Stack: r.Consumer.Stack, Running: r.Consumer.Running,
		How: string(r.Use.How), Where: r.Use.Where, Target: r.Use.Target, Key: r.Use.Key, Optional: r.Use.Optional, Previous: r.Use.Previous,
	}
}

// ConsumersColumns are those of consumers.
var ConsumersColumns = []Column{
	{Name: "Secret", Always: true}, {Name: "Side", Always: true}, {Name: "Consumer", Always: true}, {Name: "How", Always: true},
	{Name: "Key"}, {Name: "Target"}, {Name: "Where", Wide: true}, {Name: "Running"}, {Name: "Stack"}, {Name: "Note", Text: true},
}

// below tells whether a consumer is there because another one of the same secret is: a pod of a
// deployment, a task of a service. What its owner has dropped meanwhile it has by itself.
func (s UsedSecret) below(c Consumer) bool {
	return c.Owner != "" && slices.ContainsFunc(s.Consumers, func(o Consumer) bool {
		return o.Kind+"/"+o.Name == c.Owner && o.Target == c.Target && o.Key == c.Key && o.How == c.How && !o.Previous
	})
}

// running counts what runs of a consumer with the secret, in words; empty for what never runs.
func (s UsedSecret) running(c Consumer) string {
	n := 0
	for _, other := range s.Consumers {
		if other.Running && s.below(other) && other.Owner == c.Kind+"/"+c.Name && other.Target == c.Target && other.Key == c.Key && other.How == c.How {
			n++
		}
	}
	if c.Running {
		n++
	}
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// Rows gives one for each reference, those of what stands below another one left out, and one for a
// secret that has none.
func (d Consumers) Rows() []Row {
	var rows []Row
	for _, side := range d.Places {
		for _, s := range side.Secrets {
			if len(s.Consumers) == 0 {
				note := "unused"
				if len(side.Blind) > 0 {
					note = "nothing that could be seen uses it"
				}
				rows = append(rows, Row{s.Name, side.Kind, "", "", "", "", "", "", "", note})
			}
			for _, c := range s.Consumers {
				if s.below(c) {
					continue
				}
				note := ""
				switch {
				case s.Missing && !c.Optional:
					note = "there is no such secret"
				case s.Missing:
					note = "optional, there is no such secret"
				case c.Previous:
					note = "for a rollback alone"
				case c.Optional:
					note = "optional"
				}
				rows = append(rows, Row{s.Name, side.Kind, c.Kind + "/" + c.Name, c.How, c.Key, c.Target, c.Where, s.running(c), c.Stack, note})
			}
		}
	}
	return rows
}

// Names are those of the secrets.
func (d Consumers) Names() []string {
	var names []string
	for _, side := range d.Places {
		for _, s := range side.Secrets {
			names = append(names, name(side.Kind, s.Name))
		}
	}
	return names
}

// Text sums it up, and says what could not be seen.
func (d Consumers) Text() string {
	secrets, unused := 0, 0
	blind := ""
	for _, side := range d.Places {
		secrets += len(side.Secrets)
		for _, s := range side.Secrets {
			if len(s.Consumers) == 0 {
				unused++
			}
		}
		for _, what := range side.Blind {
			blind += "\nnot seen: " + Printable(what)
		}
		if side.Unreachable != "" {
			blind += "\nnot seen: " + side.Name + ": " + Printable(side.Unreachable)
		}
	}
	text := sum(secrets, "secret", nil)
	if unused > 0 {
		text += ": " + strconv.Itoa(unused) + " without any consumer"
		if blind != "" {
			text += " that could be seen"
		}
	}
	return text + blind
}
