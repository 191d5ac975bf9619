package main

import (
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/secretx/secretx/shared/connect"
)

// kubeconfig reads as kubectl's flags say.
func kubeconfig(flags *genericclioptions.ConfigFlags) connect.Kubeconfig {
	return func(context, namespace string) clientcmd.ClientConfig {
		// Both ends may be namespaces, each with a context of its own.
		chosen := &genericclioptions.ConfigFlags{
			KubeConfig: flags.KubeConfig, CacheDir: flags.CacheDir,
			ClusterName: flags.ClusterName, AuthInfoName: flags.AuthInfoName,
			Context: flags.Context, Namespace: flags.Namespace,
			APIServer: flags.APIServer, TLSServerName: flags.TLSServerName, Insecure: flags.Insecure,
			CertFile: flags.CertFile, KeyFile: flags.KeyFile, CAFile: flags.CAFile,
			BearerToken: flags.BearerToken, Impersonate: flags.Impersonate,
			ImpersonateUID: flags.ImpersonateUID, ImpersonateGroup: flags.ImpersonateGroup,
			ImpersonateUserExtra: flags.ImpersonateUserExtra,
			Username:             flags.Username, Password: flags.Password, Timeout: flags.Timeout,
			DisableCompression: flags.DisableCompression, ProxyURL: flags.ProxyURL,
		}
		if context != "" {
			chosen.Context = &context
		}
		if namespace != "" {
			chosen.Namespace = &namespace
		}
		return chosen.ToRawKubeConfigLoader()
	}
}
