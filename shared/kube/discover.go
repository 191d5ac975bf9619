package kube

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"k8s.io/client-go/rest"
)

// client-go's discovery would bring every type of Kubernetes along, and with it time at each start
// of a plugin: these are the few fields that are needed.

// aggregated asks for all kinds in one answer (Kubernetes 1.27 and newer). An older server
// answers with the names of the groups.
const aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList," +
	"application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"

// groupList is an APIGroupDiscoveryList or, from an older server, an APIGroupList.
type groupList struct {
	Items []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Versions []struct {
			Version   string `json:"version"`
			Resources []struct {
				Resource     string `json:"resource"`
				ResponseKind struct {
					Kind string `json:"kind"`
				} `json:"responseKind"`
				Scope      string   `json:"scope"`
				ShortNames []string `json:"shortNames"`
			} `json:"resources"`
		} `json:"versions"`
	} `json:"items"`
	Groups []struct {
		Name             string `json:"name"`
		PreferredVersion struct {
			Version string `json:"version"`
		} `json:"preferredVersion"`
	} `json:"groups"`
}

// resourceList is an APIResourceList.
type resourceList struct {
	Resources []struct {
		Name       string   `json:"name"`
		Kind       string   `json:"kind"`
		Namespaced bool     `json:"namespaced"`
		ShortNames []string `json:"shortNames"`
	} `json:"resources"`
}

// discover finds the kinds of all API groups, each in the version that the server prefers. A group
// whose server is away doesn't hide the others.
func (c *connection) discover(ctx context.Context) ([]kind, error) {
	var groups groupList
	if err := c.readJSON(ctx, "/apis", aggregated, &groups); err != nil {
		return nil, err
	}
	var found []kind
	for _, group := range groups.Items {
		seen := map[string]bool{}
		for _, version := range group.Versions { // the preferred one first
			for _, r := range version.Resources {
				if r.Scope != "Namespaced" || seen[r.Resource] {
					continue
				}
				seen[r.Resource] = true
				found = append(found, kind{group: group.Metadata.Name, version: version.Version, plural: r.Resource, kind: r.ResponseKind.Kind, short: r.ShortNames})
			}
		}
	}
	lists := make([]resourceList, len(groups.Groups))
	err := parallel(ctx, len(lists), func(ctx context.Context, i int) error {
		group := groups.Groups[i]
		_ = c.readJSON(ctx, "/apis/"+group.Name+"/"+group.PreferredVersion.Version, "application/json", &lists[i])
		return ctx.Err()
	})
	for i, list := range lists {
		group := groups.Groups[i]
		for _, r := range list.Resources {
			if r.Namespaced && !strings.Contains(r.Name, "/") { // no subresource
				found = append(found, kind{group: group.Name, version: group.PreferredVersion.Version, plural: r.Name, kind: r.Kind, short: r.ShortNames})
			}
		}
	}
	return found, err
}

func (c *connection) readJSON(ctx context.Context, path, accept string, into any) error {
	return c.read(ctx, func() *rest.Request {
		return c.client.Verb(http.MethodGet).AbsPath(path).SetHeader("Accept", accept)
	}, func(result rest.Result) error {
		text, err := result.Raw()
		if err != nil {
			return err
		}
		if json.Unmarshal(text, into) != nil {
			return errAnswer
		}
		return nil
	})
}
