// Command quantities reads one string a line as JSON and prints what the API server's own code makes of it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/api/resource"
)

type reading struct {
	Text  string
	OK    bool
	Value int64 `json:",omitempty"`
	Milli int64 `json:",omitempty"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var text string
		if err := json.Unmarshal(lines.Bytes(), &text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		r := reading{Text: text}
		if q, err := resource.ParseQuantity(text); err == nil {
			r.OK, r.Value, r.Milli = true, q.Value(), q.MilliValue()
		}
		out, _ := json.Marshal(r)
		fmt.Println(string(out))
	}
}
