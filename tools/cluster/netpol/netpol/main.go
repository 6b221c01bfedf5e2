// Command netpol judges flows by NetworkPolicies with the evaluation code of kube-network-policies, an engine that
// clusters run. It reads one JSON document from standard input (see input) and prints a list of verdicts, true for a
// flow that is let through. Nothing is enforced, and no cluster is asked.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"os"
	_ "unsafe" // for go:linkname

	v1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

type input struct {
	Namespaces []*v1.Namespace
	Pods       []*v1.Pod
	Policies   []*networkingv1.NetworkPolicy
	Flows      []flow
}

// flow is one connection. An address that no pod has is one outside: a node, an API server, a stranger.
type flow struct {
	From, To string
	Protocol v1.Protocol
	Port     int
}

// packet has the fields of the engine's own packet, which it does not export.
type packet struct {
	id      uint32
	family  v1.IPFamily
	srcIP   net.IP
	dstIP   net.IP
	proto   v1.Protocol
	srcPort int
	dstPort int
	payload []byte
}

// The engine exports the controller alone, whose loop needs nftables; linkname.s lets this function have no body.
//
//go:linkname evaluatePacket sigs.k8s.io/kube-network-policies/pkg/networkpolicy.(*Controller).evaluatePacket
func evaluatePacket(c *networkpolicy.Controller, ctx context.Context, p packet) bool

func main() {
	var asked input
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		log.Fatal(err)
	}
	verdicts, err := judge(asked)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		log.Fatal(err)
	}
}

func judge(asked input) ([]bool, error) {
	client, err := kubernetes.NewForConfig(&rest.Config{Host: "https://127.0.0.1:1"})
	if err != nil {
		return nil, err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	policies, core := factory.Networking().V1().NetworkPolicies(), factory.Core().V1()
	engine, err := networkpolicy.NewController(client, policies, core.Namespaces(), core.Pods(), core.Nodes(), nil, nil, nil,
		networkpolicy.Config{NodeName: "node"})
	if err != nil {
		return nil, err
	}
	for _, each := range asked.Namespaces {
		if err := core.Namespaces().Informer().GetIndexer().Add(each); err != nil {
			return nil, err
		}
	}
	for _, each := range asked.Pods {
		if err := core.Pods().Informer().GetIndexer().Add(each); err != nil {
			return nil, err
		}
	}
	for _, each := range asked.Policies {
		if err := policies.Informer().GetIndexer().Add(each); err != nil {
			return nil, err
		}
	}
	verdicts := make([]bool, len(asked.Flows))
	for i, each := range asked.Flows {
		verdicts[i] = evaluatePacket(engine, context.Background(), packet{
			family: v1.IPv4Protocol, proto: each.Protocol, srcPort: 40000, dstPort: each.Port,
			srcIP: net.ParseIP(each.From), dstIP: net.ParseIP(each.To),
		})
	}
	return verdicts, nil
}
