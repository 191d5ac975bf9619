package main

import (
	"cmp"
	"errors"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
)

// kubeconfig has kubectl's flags. The library that kubectl has them from (cli-runtime) comes with all types
// of Kubernetes and with kustomize: half as much memory again, and twice the time to start.
type kubeconfig struct {
	file      string
	overrides clientcmd.ConfigOverrides
}

func (k *kubeconfig) addFlags(flags *pflag.FlagSet) {
	names := clientcmd.RecommendedConfigOverrideFlags("")
	names.ClusterOverrideFlags.APIServer.ShortName = "s"
	// A password is never an argument; kubectl has neither of the two any more.
	names.AuthOverrideFlags.Username, names.AuthOverrideFlags.Password = clientcmd.FlagInfo{}, clientcmd.FlagInfo{}
	clientcmd.BindOverrideFlags(&k.overrides, flags, names)
	flags.StringVar(&k.file, "kubeconfig", "", "Path to the kubeconfig file to use for CLI requests.")
	flags.Var(&extras{k}, "as-user-extra", "User extras to impersonate for the operation, this flag can be repeated to specify multiple values for the same key.")
}

// read finds the configuration where kubectl would. Both ends may be namespaces, each with a context
// of its own.
func (k *kubeconfig) read(context, namespace string) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.DefaultClientConfig = &clientcmd.DefaultClientConfig
	rules.ExplicitPath = k.file
	overrides := k.overrides
	overrides.ClusterDefaults = clientcmd.ClusterDefaults
	overrides.CurrentContext = cmp.Or(context, overrides.CurrentContext)
	overrides.Context.Namespace = cmp.Or(namespace, overrides.Context.Namespace)
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &overrides)
}

// extras is the one flag of kubectl that clientcmd doesn't have: KEY=VALUE, more than once.
type extras struct{ *kubeconfig }

func (e *extras) Set(text string) error {
	key, value, found := strings.Cut(text, "=")
	if !found || key == "" {
		return errors.New("it is KEY=VALUE")
	}
	who := &e.overrides.AuthInfo
	if who.ImpersonateUserExtra == nil {
		who.ImpersonateUserExtra = map[string][]string{}
	}
	who.ImpersonateUserExtra[key] = append(who.ImpersonateUserExtra[key], value)
	return nil
}

func (e *extras) String() string { return "" }

func (e *extras) Type() string { return "stringArray" }
