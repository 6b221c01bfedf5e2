// Noop is a scheduler extender that does nothing, as fast as Go's standard
// library does it: every node passes, every node scores 0. Measurements hold
// other extenders against it.
//
//	noop --addr 127.0.0.1:8888
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"

	extender "k8s.io/kube-scheduler/extender/v1"
)

func main() {
	address := flag.String("addr", "127.0.0.1:8888", "host:port to listen on")
	flag.Parse()
	http.HandleFunc("POST /filter", answer(func(args extender.ExtenderArgs) any {
		return extender.ExtenderFilterResult{Nodes: args.Nodes, NodeNames: args.NodeNames}
	}))
	http.HandleFunc("POST /prioritize", answer(func(args extender.ExtenderArgs) any {
		if args.Nodes != nil {
			scores := make(extender.HostPriorityList, len(args.Nodes.Items))
			for i := range args.Nodes.Items {
				scores[i].Host = args.Nodes.Items[i].Name
			}
			return scores
		}
		scores := make(extender.HostPriorityList, len(*args.NodeNames))
		for i, name := range *args.NodeNames {
			scores[i].Host = name
		}
		return scores
	}))
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	log.Fatal(http.ListenAndServe(*address, nil))
}

func answer(verb func(extender.ExtenderArgs) any) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		var args extender.ExtenderArgs
		if err := json.NewDecoder(request.Body).Decode(&args); err != nil {
			http.Error(w, "body: "+err.Error(), http.StatusBadRequest)
			return
		}
		if args.NodeNames == nil && args.Nodes == nil {
			http.Error(w, "NodeNames and Nodes: both missing", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(verb(args)); err != nil {
			log.Print("answer: ", err)
		}
	}
}
