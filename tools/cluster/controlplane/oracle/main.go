// Oracle asks the scheduler's own code what it counts and how it scores.
//
// It makes random clusters (or reads some), runs kube-scheduler's resource
// accounting and two of its plugins on them, and prints clusters and answers
// as one JSON list. It is the reference that kubesteer's own counting is
// compared with. No answer is worked out here: see evaluate.go.
//
//	oracle --seed 7 --clusters 100
//	oracle --input clusters.json
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"

	v1 "k8s.io/api/core/v1"
)

// cluster is one case: what there is, what arrives, and what the scheduler makes of it.
type cluster struct {
	Nodes     []*v1.Node
	Pods      []*v1.Pod
	Incoming  []*v1.Pod
	WantNodes map[string]nodeAnswer
	WantPods  map[string]podAnswer
}

func main() {
	seed := flag.Uint64("seed", 1, "the same seed gives the same clusters")
	count := flag.Int("clusters", 40, "how many random clusters to make")
	input := flag.String("input", "", "answer for the clusters in this JSON file instead of random ones")
	flag.Parse()
	if err := run(*seed, *count, *input); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func run(seed uint64, count int, input string) error {
	var clusters []cluster
	if input != "" {
		text, err := os.ReadFile(input)
		if err != nil {
			return fmt.Errorf("--input: %w", err)
		}
		if err := json.Unmarshal(text, &clusters); err != nil {
			return fmt.Errorf("--input %s: not a list of clusters: %w", input, err)
		}
	} else {
		random := rand.New(rand.NewPCG(seed, 0))
		for range count {
			clusters = append(clusters, randomCluster(random))
		}
	}
	for i := range clusters {
		if err := clusters[i].evaluate(); err != nil {
			return fmt.Errorf("cluster %d: %w", i, err)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(clusters)
}
