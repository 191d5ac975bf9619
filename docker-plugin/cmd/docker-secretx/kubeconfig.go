package main

import (
	"cmp"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeconfig is what docker secretx is told of the other side. These few flags don't need what kubectl's own
// stand on (cli-runtime): that would double the time that docker waits for a plugin.
type kubeconfig struct {
	file, context, namespace string
}

func (k *kubeconfig) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&k.file, "kubeconfig", "", "The kubeconfig `file`")
	flags.StringVar(&k.context, "kube-context", "", "Kubeconfig `context`, where an endpoint names none")
	flags.StringVarP(&k.namespace, "namespace", "n", "", "Kubernetes namespace, where an endpoint names none")
}

// read finds the configuration where kubectl would.
func (k *kubeconfig) read(context, namespace string) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.DefaultClientConfig = &clientcmd.DefaultClientConfig
	rules.ExplicitPath = k.file
	overrides := &clientcmd.ConfigOverrides{
		ClusterDefaults: clientcmd.ClusterDefaults,
		CurrentContext:  cmp.Or(context, k.context),
	}
	overrides.Context.Namespace = cmp.Or(namespace, k.namespace)
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
}
