package main

import (
	"fmt"
	"math/rand/v2"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The amounts are ones that are easily misread: below the smallest unit, with
// every kind of suffix and exponent, zero, and one over a round number.
var (
	cpuRequests    = []string{"0", "100u", "123456u", "1m", "100e-3", "50m", "250m", "330m", "1", "1.5", "1500m", "2"}
	memoryRequests = []string{"0", "1", "100m", "64Mi", "100e6", "1e3", "128M", "512Mi", "1.5Gi", "1Gi", "2G", "1234567891"}
	egressRequests = []string{"0", "1", "1e3", "1M", "64Mi", "100e6", "250M", "300M", "1G", "9500M"}
	nodeCPUs       = []string{"3920m", "4", "8", "16"}
	nodeMemories   = []string{"15724268Ki", "16Gi", "32Gi"}
	nodeEgresses   = []string{"", "0", "1G", "9500M", "10G"}
)

func pick[T any](random *rand.Rand, from []T) T { return from[random.IntN(len(from))] }

func chance(random *rand.Rand, probability float64) bool { return random.Float64() < probability }

func randomCluster(random *rand.Rand) cluster {
	var c cluster
	for i := range 1 + random.IntN(5) {
		c.Nodes = append(c.Nodes, randomNode(random, fmt.Sprintf("n%d", i)))
	}
	for i := range random.IntN(9) {
		pod := randomPod(random, fmt.Sprintf("p%d", i))
		pod.Spec.NodeName = pick(random, c.Nodes).Name
		randomLife(random, pod)
		c.Pods = append(c.Pods, pod)
	}
	for i := range 3 {
		pod := randomPod(random, fmt.Sprintf("new%d", i))
		pod.Status.Phase = v1.PodPending
		c.Incoming = append(c.Incoming, pod)
	}
	return c
}

func randomNode(random *rand.Rand, name string) *v1.Node {
	amounts := v1.ResourceList{
		v1.ResourceCPU:    resource.MustParse(pick(random, nodeCPUs)),
		v1.ResourceMemory: resource.MustParse(pick(random, nodeMemories)),
		v1.ResourcePods:   resource.MustParse("110"),
	}
	if bps := pick(random, nodeEgresses); bps != "" {
		amounts[egress] = resource.MustParse(bps)
	}
	return &v1.Node{
		TypeMeta:   metav1.TypeMeta{Kind: "Node", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status:     v1.NodeStatus{Capacity: amounts, Allocatable: amounts.DeepCopy()},
	}
}

func randomPod(random *rand.Rand, name string) *v1.Pod {
	pod := &v1.Pod{
		TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Name:      name,
			Namespace: "default",
			UID:       types.UID("uid-" + name),
			Labels:    map[string]string{"app": pick(random, []string{"web", "db", "cache"})},
		},
	}
	bestEffort := chance(random, 0.1)
	for i := range random.IntN(3) {
		container := randomContainer(random, fmt.Sprintf("i%d", i), bestEffort)
		if chance(random, 0.5) {
			always := v1.ContainerRestartPolicyAlways
			container.RestartPolicy = &always
		}
		pod.Spec.InitContainers = append(pod.Spec.InitContainers, container)
	}
	for i := range 1 + random.IntN(3) {
		pod.Spec.Containers = append(pod.Spec.Containers, randomContainer(random, fmt.Sprintf("c%d", i), bestEffort))
	}
	if bestEffort {
		return pod
	}
	if chance(random, 0.2) {
		pod.Spec.Overhead = v1.ResourceList{
			v1.ResourceCPU:    resource.MustParse(pick(random, []string{"10m", "250m", "500m"})),
			v1.ResourceMemory: resource.MustParse("120Mi"),
		}
	}
	if chance(random, 0.2) {
		requests := v1.ResourceList{v1.ResourceCPU: resource.MustParse(pick(random, []string{"3", "4500m"}))}
		if chance(random, 0.5) {
			requests[v1.ResourceMemory] = resource.MustParse("3Gi")
		}
		pod.Spec.Resources = &v1.ResourceRequirements{Requests: requests}
	}
	return pod
}

func randomContainer(random *rand.Rand, name string, bestEffort bool) v1.Container {
	container := v1.Container{Name: name, Image: "x"}
	if bestEffort {
		return container
	}
	requests := v1.ResourceList{}
	if chance(random, 0.8) {
		requests[v1.ResourceCPU] = resource.MustParse(pick(random, cpuRequests))
	}
	if chance(random, 0.8) {
		requests[v1.ResourceMemory] = resource.MustParse(pick(random, memoryRequests))
	}
	if chance(random, 0.4) {
		// The API server holds request and limit of an extended resource equal.
		bps := resource.MustParse(pick(random, egressRequests))
		requests[egress] = bps
		container.Resources.Limits = v1.ResourceList{egress: bps}
	}
	container.Resources.Requests = requests
	return container
}

// randomLife gives a placed pod a phase and, sometimes, an in-place resize under way.
func randomLife(random *rand.Rand, pod *v1.Pod) {
	pod.Status.Phase = pick(random, []v1.PodPhase{
		v1.PodRunning, v1.PodRunning, v1.PodRunning, v1.PodRunning, v1.PodPending, v1.PodSucceeded, v1.PodFailed,
	})
	if !chance(random, 0.5) {
		return
	}
	for _, container := range pod.Spec.Containers {
		if chance(random, 0.8) {
			pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, resizedStatus(random, container))
		}
	}
	for _, container := range pod.Spec.InitContainers {
		if container.RestartPolicy != nil && chance(random, 0.5) {
			pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, resizedStatus(random, container))
		}
	}
	if chance(random, 0.4) {
		pod.Status.Conditions = []v1.PodCondition{{
			Type:   v1.PodResizePending,
			Status: v1.ConditionTrue,
			Reason: pick(random, []string{v1.PodReasonInfeasible, v1.PodReasonDeferred}),
		}}
	}
	if chance(random, 0.3) {
		pod.Status.AllocatedResources = v1.ResourceList{v1.ResourceCPU: resource.MustParse(pick(random, cpuRequests))}
		pod.Status.Resources = &v1.ResourceRequirements{Requests: v1.ResourceList{
			v1.ResourceCPU:    resource.MustParse(pick(random, cpuRequests)),
			v1.ResourceMemory: resource.MustParse(pick(random, memoryRequests)),
		}}
	}
}

// resizedStatus tells other amounts than the spec for what the spec requests; either part may be missing.
func resizedStatus(random *rand.Rand, container v1.Container) v1.ContainerStatus {
	other := func() v1.ResourceList {
		amounts := v1.ResourceList{}
		for name := range container.Resources.Requests {
			amounts[name] = container.Resources.Requests[name].DeepCopy()
		}
		if _, asked := amounts[v1.ResourceCPU]; asked {
			amounts[v1.ResourceCPU] = resource.MustParse(pick(random, cpuRequests))
		}
		if _, asked := amounts[v1.ResourceMemory]; asked {
			amounts[v1.ResourceMemory] = resource.MustParse(pick(random, memoryRequests))
		}
		return amounts
	}
	status := v1.ContainerStatus{Name: container.Name}
	if chance(random, 0.9) {
		status.AllocatedResources = other()
	}
	if chance(random, 0.8) {
		status.Resources = &v1.ResourceRequirements{Requests: other()}
	}
	return status
}
