package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/doctor"
	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/rights"
)

// oldest is the Kubernetes since which server-side apply is known to create or fail (see noVersion).
const oldest = "1.24.0"

// Examine looks at whatever secretx needs of a cluster and a namespace, and goes on as far as it can.
func (e *Endpoint) Examine(ctx context.Context, options doctor.Options) []doctor.Check {
	c, err := e.connect()
	if err != nil {
		return []doctor.Check{doctor.Of("connection", err)}
	}
	checks, reached := c.greet(ctx, options)
	if !reached {
		return checks
	}
	place, err := e.Place(ctx)
	if err != nil {
		checks = append(checks, doctor.Of("namespace", err))
	} else {
		checks = append(checks, doctor.Check{Name: "namespace", State: doctor.OK, Detail: place.Namespace})
	}
	if !errors.Is(err, endpoint.ErrNotFound) {
		checks = append(checks, c.mayDo(ctx, options)...)
	}
	return append(checks, e.keyCheck(ctx))
}

// greet asks for the version, which nobody needs a right for, and reads the clock off the answer.
func (c *connection) greet(ctx context.Context, options doctor.Options) (checks []doctor.Check, reached bool) {
	ctx, cancel := context.WithTimeout(ctx, endpoint.CallTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.client.Get().AbsPath("/version").URL().String(), nil)
	if err != nil {
		return []doctor.Check{doctor.Of("connection", c.fail(ctx, "connect", "", err))}, false
	}
	before := options.Now()
	response, err := c.client.Client.Do(request)
	if err != nil {
		return []doctor.Check{doctor.Of("connection", c.fail(ctx, "connect", "", err))}, false
	}
	defer response.Body.Close()
	after := options.Now()
	const most = 1 << 20
	body, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err != nil {
		return []doctor.Check{doctor.Of("connection", c.fail(ctx, "connect", "", err))}, false
	}
	if response.StatusCode == http.StatusUnauthorized {
		return []doctor.Check{{Name: "connection", State: doctor.Failed, Detail: c.server + " doesn't know the credentials", Advice: "The credentials of this kubeconfig context are missing, wrong or expired: log in again."}}, false
	}
	checks = append(checks, doctor.Check{Name: "connection", State: doctor.OK, Detail: c.server})
	var said struct {
		GitVersion string `json:"gitVersion"`
	}
	_ = json.Unmarshal(body, &said)
	checks = append(checks, serverVersion(said.GitVersion, response.StatusCode))
	if theirs, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		checks = append(checks, doctor.Clock(before, theirs, after))
	}
	return checks, true
}

func serverVersion(text string, status int) doctor.Check {
	check := doctor.Check{Name: "version", State: doctor.OK, Detail: "Kubernetes " + text}
	parsed, err := version.ParseGeneric(text)
	switch {
	case err != nil:
		check.State, check.Detail = doctor.Warning, fmt.Sprintf("it answers with status %d and no version of Kubernetes", status)
		check.Advice = "Check that the kubeconfig context is the right one."
	case parsed.LessThan(version.MustParseGeneric(oldest)):
		check.State, check.Detail = doctor.Warning, check.Detail+" is older than what secretx was seen to work with"
		check.Advice = "Use Kubernetes 1.24 or newer."
	}
	return check
}

// keyCheck looks at the installation key. That there is none yet is fine.
func (e *Endpoint) keyCheck(ctx context.Context) doctor.Check {
	_, found, err := e.readKey(ctx)
	check := doctor.Check{Name: "installation key", State: doctor.OK}
	switch {
	case errors.Is(err, endpoint.ErrForbidden):
		check.State, check.Detail = doctor.Warning, "it may not be read, so that mirrors are judged by UIDs and versions alone"
		check.Advice = fmt.Sprintf("Allow get on the secret %s, or use --fingerprint-key.", keyName)
	case err != nil:
		return doctor.Of(check.Name, err)
	case !found:
		check.Detail = "none yet: the first sync that writes makes it"
	default:
		check.Detail = "secret " + keyName
	}
	return check
}

// mayDo asks what the user may do, and compares it with what the verbs take: in one request, and one more
// for each right that the first answer doesn't show, because not every authorizer can list its rules.
func (c *connection) mayDo(ctx context.Context, options doctor.Options) []doctor.Check {
	needs, err := options.Needs(c.namespace)
	if err != nil {
		return []doctor.Check{doctor.Of("rights", err)}
	}
	var review authorizationv1.SelfSubjectRulesReview
	review.Spec.Namespace = c.namespace
	if err := c.review(ctx, "selfsubjectrulesreviews", &review, &review); err != nil {
		return []doctor.Check{doctor.Of("rights", c.fail(ctx, "ask for the rights", "", err))}
	}
	doubts := map[asked]bool{} // whether it is allowed after all
	for _, need := range needs {
		for _, one := range singles(need.Rules) {
			if !granted(review.Status.ResourceRules, one) {
				doubts[one] = false
			}
		}
	}
	if review.Status.Incomplete || review.Status.EvaluationError != "" {
		if err := c.settleDoubts(ctx, doubts); err != nil {
			return []doctor.Check{doctor.Of("rights", c.fail(ctx, "ask for the rights", "", err))}
		}
	}
	var checks []doctor.Check
	for _, need := range needs {
		checks = append(checks, judgeRights(need, doubts, options))
	}
	return checks
}

func judgeRights(need doctor.Need, doubts map[asked]bool, options doctor.Options) doctor.Check {
	check := doctor.Check{Name: "rights: " + need.Verb, State: doctor.OK, Detail: "allowed"}
	var missing, without []string
	for _, one := range singles(need.Rules) {
		if allowed, doubted := doubts[one]; !doubted || allowed {
			continue
		}
		if one.without == "" {
			missing = append(missing, one.text())
		} else {
			without = append(without, one.text())
		}
	}
	switch {
	case len(missing) > 0:
		check.State, check.Detail = doctor.Warning, "not allowed: "+strings.Join(missing, ", ")
		if need.Asked {
			check.State = doctor.Failed
		}
		check.Advice = options.Allow(need.Verb)
	case len(without) > 0:
		check.Detail = "allowed, but for what it can do without: " + strings.Join(without, ", ")
	}
	return check
}

// asked is one verb on one resource; a name stands for itself, and none for all.
type asked struct{ verb, group, resource, name, without string }

func (a asked) text() string {
	text := a.verb + " " + a.resource
	if a.group != "" {
		text += "." + a.group
	}
	if a.name != "" {
		text += "/" + a.name
	}
	return text
}

func singles(rules rights.Rules) (all []asked) {
	for _, r := range rules {
		names := r.Names
		if len(names) == 0 {
			names = []string{""}
		}
		for _, verb := range r.Verbs {
			for _, name := range names {
				all = append(all, asked{verb, r.Group, r.Resource, name, r.Without})
			}
		}
	}
	return all
}

// granted tells whether rules, as the API server lists them, allow what is asked.
func granted(rules []authorizationv1.ResourceRule, a asked) bool {
	has := func(list []string, wanted ...string) bool {
		return slices.ContainsFunc(list, func(one string) bool { return one == "*" || slices.Contains(wanted, one) })
	}
	_, sub, _ := strings.Cut(a.resource, "/")
	return slices.ContainsFunc(rules, func(r authorizationv1.ResourceRule) bool {
		resource := has(r.Resources, a.resource) || sub != "" && slices.Contains(r.Resources, "*/"+sub)
		return resource && has(r.Verbs, a.verb) && has(r.APIGroups, a.group) && (len(r.ResourceNames) == 0 || a.name != "" && slices.Contains(r.ResourceNames, a.name))
	})
}

// settleDoubts puts each doubt to the API server.
func (c *connection) settleDoubts(ctx context.Context, doubts map[asked]bool) error {
	all := make([]asked, 0, len(doubts))
	for one := range doubts {
		all = append(all, one)
	}
	var mu sync.Mutex
	return parallel(ctx, len(all), func(ctx context.Context, i int) error {
		one := all[i]
		resource, sub, _ := strings.Cut(one.resource, "/")
		review := authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: c.namespace, Verb: one.verb, Group: one.group, Resource: resource, Subresource: sub, Name: one.name,
			},
		}}
		if err := c.review(ctx, "selfsubjectaccessreviews", &review, &review); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		doubts[one] = review.Status.Allowed
		return nil
	})
}

// review asks the authorization API.
func (c *connection) review(ctx context.Context, plural string, question, answer runtime.Object) error {
	kinds := map[string]string{"selfsubjectrulesreviews": "SelfSubjectRulesReview", "selfsubjectaccessreviews": "SelfSubjectAccessReview"}
	question.GetObjectKind().SetGroupVersionKind(authorizationv1.SchemeGroupVersion.WithKind(kinds[plural]))
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	return c.read(ctx, func() *rest.Request {
		return c.client.Verb(http.MethodPost).AbsPath("/apis/authorization.k8s.io/v1/"+plural).
			SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Body(body)
	}, func(result rest.Result) error {
		text, err := result.Raw()
		if err != nil {
			return err
		}
		return json.Unmarshal(text, answer)
	})
}
