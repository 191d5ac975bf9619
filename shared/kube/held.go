package kube

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
)

// What follows says why the pods of a workload are not made anew by themselves when its template changes,
// and what to do; empty when they are.

func heldDeployment(o *appsv1.Deployment) string {
	if o.Spec.Paused {
		return "it is paused: run kubectl rollout resume deployment/" + o.Name + " first"
	}
	return ""
}

func heldStatefulSet(o *appsv1.StatefulSet) string {
	strategy := o.Spec.UpdateStrategy
	switch {
	case replicas(o.Spec.Replicas) == 0:
	case strategy.Type == appsv1.OnDeleteStatefulSetStrategyType:
		return "its update strategy is OnDelete: its pods are made anew only when somebody deletes them"
	case strategy.RollingUpdate != nil && strategy.RollingUpdate.Partition != nil && *strategy.RollingUpdate.Partition > 0:
		return fmt.Sprintf("its update strategy has the partition %d: pods with a lower number than that are not updated until it is set to 0", *strategy.RollingUpdate.Partition)
	}
	return ""
}

func heldDaemonSet(o *appsv1.DaemonSet) string {
	if o.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		return "its update strategy is OnDelete: its pods are made anew only when somebody deletes them"
	}
	return ""
}

// replicas are how many are wanted; the API server's default is 1.
func replicas(wanted *int32) int32 {
	if wanted == nil {
		return 1
	}
	return *wanted
}
