package main

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	resourcehelper "k8s.io/component-helpers/resource"
	fwk "k8s.io/kube-scheduler/framework"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/feature"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins/noderesources"
	schedutil "k8s.io/kubernetes/pkg/scheduler/util"
)

const egress = v1.ResourceName("kubesteer.io/egress-bps")

// amounts are CPU in millicores, memory in bytes, egress in bit/s.
type amounts struct{ CPU, Memory, Egress int64 }

type nodeAnswer struct{ Allocatable, Requested, NonZeroRequested amounts }

// podAnswer has the plugin's score and the fit for every node by name. Balanced
// is empty when the plugin skips the pod.
type podAnswer struct {
	Requests, NonZeroRequests amounts
	Balanced                  map[string]int64
	EgressFits                map[string]bool
}

// handle is what the plugin asks of the framework here: no resource is backed by a device class.
type handle struct{ fwk.Handle }

func (handle) SharedDRAManager() fwk.SharedDRAManager { return nil }

func (c *cluster) evaluate() error {
	ctx := context.Background()
	gates := feature.NewSchedulerFeaturesFromGates(utilfeature.DefaultFeatureGate)
	gates.EnableDRAExtendedResource = false
	balanced, err := newBalanced(ctx, gates)
	if err != nil {
		return err
	}
	nodes := c.nodeInfos()
	c.WantNodes = map[string]nodeAnswer{}
	for _, info := range nodes {
		c.WantNodes[info.Node().Name] = nodeAnswer{
			Allocatable:      amountsOf(info.GetAllocatable()),
			Requested:        amountsOf(info.GetRequested()),
			NonZeroRequested: amountsOf(info.GetNonZeroRequested()),
		}
	}
	c.WantPods = map[string]podAnswer{}
	for _, pod := range c.Incoming {
		answer, err := answerFor(ctx, pod, nodes, balanced, gates)
		if err != nil {
			return fmt.Errorf("pod %s: %w", pod.Name, err)
		}
		c.WantPods[pod.Name] = answer
	}
	return nil
}

func newBalanced(ctx context.Context, gates feature.Features) (*noderesources.BalancedAllocation, error) {
	arguments := &config.NodeResourcesBalancedAllocationArgs{Resources: []config.ResourceSpec{
		{Name: string(v1.ResourceCPU), Weight: 1},
		{Name: string(v1.ResourceMemory), Weight: 1},
		{Name: string(egress), Weight: 1},
	}}
	plugin, err := noderesources.NewBalancedAllocation(ctx, arguments, handle{}, gates)
	if err != nil {
		return nil, err
	}
	return plugin.(*noderesources.BalancedAllocation), nil
}

// nodeInfos fills the scheduler's node records. Its informer never sees terminal pods.
func (c *cluster) nodeInfos() []fwk.NodeInfo {
	var infos []fwk.NodeInfo
	for _, node := range c.Nodes {
		info := framework.NewNodeInfo()
		info.SetNode(node)
		for _, pod := range c.Pods {
			if pod.Spec.NodeName == node.Name && !podutil.IsPodPhaseTerminal(pod.Status.Phase) {
				info.AddPod(pod)
			}
		}
		infos = append(infos, info)
	}
	return infos
}

func answerFor(
	ctx context.Context,
	pod *v1.Pod,
	nodes []fwk.NodeInfo,
	balanced *noderesources.BalancedAllocation,
	gates feature.Features,
) (podAnswer, error) {
	info, err := framework.NewPodInfo(pod)
	if err != nil {
		return podAnswer{}, err
	}
	counted := info.CalculateResource()
	answer := podAnswer{
		Requests:        amountsOf(counted.Resource),
		NonZeroRequests: scoredRequests(pod, gates),
		Balanced:        map[string]int64{},
		EgressFits:      map[string]bool{},
	}
	state := framework.NewCycleState()
	before := balanced.PreScore(ctx, state, pod, nodes)
	if !before.IsSuccess() && !before.IsSkip() {
		return podAnswer{}, before.AsError()
	}
	options := noderesources.ResourceRequestsOptions{EnablePodLevelResources: gates.EnablePodLevelResources}
	for _, node := range nodes {
		name := node.Node().Name
		answer.EgressFits[name] = true
		for _, lack := range noderesources.Fits(pod, node, nil, options) {
			if lack.ResourceName == egress {
				answer.EgressFits[name] = false
			}
		}
		if before.IsSkip() {
			continue
		}
		score, status := balanced.Score(ctx, state, pod, node)
		if !status.IsSuccess() {
			return podAnswer{}, status.AsError()
		}
		answer.Balanced[name] = score
	}
	return answer, nil
}

// scoredRequests is what Fit's scoring strategies add to a node for an incoming
// pod: unlike a node's record, they fill in both defaults for every container,
// whatever the pod as a whole requests. The options are those of the plugin.
func scoredRequests(pod *v1.Pod, gates feature.Features) amounts {
	requests := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{
		UseStatusResources: gates.EnableInPlacePodVerticalScaling,
		InPlacePodLevelResourcesVerticalScalingEnabled: gates.EnableInPlacePodLevelResourcesVerticalScaling,
		SkipPodLevelResources:                          !gates.EnablePodLevelResources,
		NonMissingContainerRequests: v1.ResourceList{
			v1.ResourceCPU:    *resource.NewMilliQuantity(schedutil.DefaultMilliCPURequest, resource.DecimalSI),
			v1.ResourceMemory: *resource.NewQuantity(schedutil.DefaultMemoryRequest, resource.DecimalSI),
		},
	})
	return amounts{CPU: requests.Cpu().MilliValue(), Memory: requests.Memory().Value()}
}

func amountsOf(r fwk.Resource) amounts {
	return amounts{CPU: r.GetMilliCPU(), Memory: r.GetMemory(), Egress: r.GetScalarResources()[egress]}
}
