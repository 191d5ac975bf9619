//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	apiversions "github.com/docker/docker/api/types/versions"
	"github.com/rogpeppe/go-internal/testscript"
)

// What older ones answered when they were asked for their version.
var recorded = map[string]string{
	"1.40": `{"Platform":{"Name":"Docker Engine - Community"},"Components":[{"Name":"Engine","Version":"19.03.15","Details":{"ApiVersion":"1.40","Arch":"amd64","BuildTime":"2021-01-30T03:16:33.000000000+00:00","Experimental":"false","GitCommit":"99e3ed8919","GoVersion":"go1.13.15","KernelVersion":"5.10.0","MinAPIVersion":"1.12","Os":"linux"}}],"Version":"19.03.15","ApiVersion":"1.40","MinAPIVersion":"1.12","GitCommit":"99e3ed8919","GoVersion":"go1.13.15","Os":"linux","Arch":"amd64","KernelVersion":"5.10.0","BuildTime":"2021-01-30T03:16:33.000000000+00:00"}`,
	"1.24": `{"major":"1","minor":"24","gitVersion":"v1.24.17","gitCommit":"22a9682c8fe855c321be75c5faacde343f909b04","gitTreeState":"clean","buildDate":"2023-08-23T23:37:25Z","goVersion":"go1.20.7","compiler":"gc","platform":"linux/amd64"}`,
	"1.20": `{"major":"1","minor":"20","gitVersion":"v1.20.15","gitCommit":"8f1e5bf0b9729a899b8df86249b56e2c74aebc55","gitTreeState":"clean","buildDate":"2022-01-19T17:23:01Z","goVersion":"go1.15.15","compiler":"gc","platform":"linux/amd64"}`,
}

// absent are the requests that a Kubernetes of a version has nothing for.
var absent = map[string]*regexp.Regexp{
	"1.24": regexp.MustCompile(`/pods/[^/]+/ephemeralcontainers`), // where the beta is turned off
	"1.20": regexp.MustCompile(`/pods/[^/]+/ephemeralcontainers|/apis/batch/v1/namespaces/[^/]+/cronjobs`),
}

var asksVersion = regexp.MustCompile(`^(docker|kubernetes) GET (/v[0-9.]+)?/version(\?.*)?$`)

// condition [api1.40]: the testbed's engine still speaks that version of its API.
func (s *script) condition(name string) (bool, error) {
	api, ours := strings.CutPrefix(name, "api")
	if !ours {
		return false, fmt.Errorf("unknown condition %q", name)
	}
	found, err := s.swarm.ServerVersion(s.t.Context())
	return err == nil && !apiversions.LessThan(api, found.MinAPIVersion), err
}

// older engine|kubernetes VERSION, after record: from now on that side takes itself for one of that version: it
// says so, and has nothing that came later. An engine does the rest of it itself, by what it knows of
// older versions of its API.
func (s *script) older(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && s.proxies != nil && len(args) == 2 && recorded[args[1]] != "", "older engine|kubernetes VERSION, after record")
	side, version, before := "docker", args[1], s.proxies.answer
	if args[0] == "kubernetes" {
		side = "kubernetes"
	} else {
		s.proxies.engineAPI = version
	}
	s.proxies.answer = func(request string, body []byte) (int, string) {
		if !strings.HasPrefix(request, side+" ") {
			if before != nil {
				return before(request, body)
			}
			return 0, ""
		}
		asked := requestedAPI.FindStringSubmatch(request)
		switch {
		case asksVersion.MatchString(request):
			return http.StatusOK, recorded[version]
		case asked != nil && apiversions.GreaterThan(asked[1], version):
			return http.StatusBadRequest, fmt.Sprintf(`{"message":"client version %s is too new. Maximum supported API version is %s"}`, asked[1], version)
		case absent[version] != nil && absent[version].MatchString(request):
			status, _ := json.Marshal(map[string]any{
				"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure",
				"message": "the server could not find the requested resource", "reason": "NotFound",
				"details": map[string]any{}, "code": http.StatusNotFound,
			})
			return http.StatusNotFound, string(status)
		}
		return 0, ""
	}
}

var requestedAPI = regexp.MustCompile(`^docker [A-Z]+ /v([0-9.]+)/`)
