package connect

import (
	"k8s.io/cli-runtime/pkg/genericclioptions"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // users' kubeconfigs name these
	"k8s.io/client-go/rest"

	"github.com/secretx/secretx/shared/endpoint"
)

// Kubernetes gives the configuration and the namespace that an address means: what it leaves open
// is answered by the flags, and what those leave open by the kubeconfig or the pod that we run in.
func Kubernetes(flags *genericclioptions.ConfigFlags, address endpoint.Address) func() (*rest.Config, string, error) {
	return func() (*rest.Config, string, error) {
		chosen := &genericclioptions.ConfigFlags{
			KubeConfig: flags.KubeConfig, CacheDir: flags.CacheDir,
			ClusterName: flags.ClusterName, AuthInfoName: flags.AuthInfoName,
			Context: flags.Context, Namespace: flags.Namespace,
			APIServer: flags.APIServer, TLSServerName: flags.TLSServerName, Insecure: flags.Insecure,
			CertFile: flags.CertFile, KeyFile: flags.KeyFile, CAFile: flags.CAFile,
			BearerToken: flags.BearerToken, Impersonate: flags.Impersonate,
			ImpersonateUID: flags.ImpersonateUID, ImpersonateGroup: flags.ImpersonateGroup,
			Username: flags.Username, Password: flags.Password, Timeout: flags.Timeout,
			DisableCompression: flags.DisableCompression,
		}
		if address.Context != "" {
			chosen.Context = &address.Context
		}
		if address.Namespace != "" {
			chosen.Namespace = &address.Namespace
		}
		loader := chosen.ToRawKubeConfigLoader()
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
