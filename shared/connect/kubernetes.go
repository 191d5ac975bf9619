package connect

import (
	"maps"
	"slices"

	_ "k8s.io/client-go/plugin/pkg/client/auth" // users' kubeconfigs name these
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/secretx/secretx/shared/endpoint"
)

// Kubeconfig reads the kubeconfig as the host CLI's flags say. The context and the namespace, where
// they are not empty, are preferred to those of the flags.
type Kubeconfig func(context, namespace string) clientcmd.ClientConfig

// Kubernetes gives the configuration and the namespace that an address means: what it leaves open
// is answered by the flags, and what those leave open by the kubeconfig or the pod that we run in.
func Kubernetes(read Kubeconfig, address endpoint.Address) func() (*rest.Config, string, error) {
	return func() (*rest.Config, string, error) {
		loader := read(address.Context, address.Namespace)
		config, err := loader.ClientConfig()
		if err != nil {
			return nil, "", &endpoint.Error{
				Op: "use kubeconfig", Object: address.String(), Cause: err,
				Hint: "kubectl config get-contexts shows those there are.",
			}
		}
		namespace, _, err := loader.Namespace()
		return config, namespace, err
	}
}

// KubernetesContexts are the names of all contexts of the kubeconfig.
func KubernetesContexts(read Kubeconfig) []string {
	config, err := read("", "").RawConfig()
	if err != nil {
		return nil
	}
	return slices.Collect(maps.Keys(config.Contexts))
}
