// Bounded-bandwidth is the CNI plugin `bandwidth` with a burst that fits the
// rate. containerd asks for a burst of 2^32-1 bits, so a pod's first 512 MB
// would pass unshaped and a short test would measure nothing.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	burstsPerSecond  = 50
	leastBurst       = 1 << 20 // bits: two of the largest packets that a virtual interface passes on whole
	delegate         = "bandwidth"
	notRunnableError = 7 // "invalid network config", as the CNI specification numbers errors
)

func main() {
	err := run()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		os.Exit(ended.ExitCode())
	case err != nil:
		answer, _ := json.Marshal(map[string]any{"cniVersion": "1.0.0", "code": notRunnableError, "msg": err.Error()})
		fmt.Println(string(answer))
		os.Exit(1)
	}
}

func run() error {
	given, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	plugin, err := find(os.Getenv("CNI_PATH"))
	if err != nil {
		return err
	}
	command := exec.Command(plugin)
	command.Stdin = bytes.NewReader(bounded(given))
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	return command.Run()
}

func find(path string) (string, error) {
	for _, folder := range filepath.SplitList(path) {
		plugin := filepath.Join(folder, delegate)
		if _, err := os.Stat(plugin); err == nil {
			return plugin, nil
		}
	}
	return "", fmt.Errorf("CNI_PATH %q holds no plugin %q", path, delegate)
}

// bandwidth is what a runtime asks of the plugin, in bits and bits a second.
// Names are read in any case, as the plugin itself does: containerd writes
// them with a capital.
type bandwidth struct {
	IngressRate  uint64 `json:"ingressRate,omitempty"`
	IngressBurst uint64 `json:"ingressBurst,omitempty"`
	EgressRate   uint64 `json:"egressRate,omitempty"`
	EgressBurst  uint64 `json:"egressBurst,omitempty"`
}

// bounded changes only the burst. What it cannot read is the plugin's to
// refuse.
func bounded(given []byte) []byte {
	var configuration, runtime map[string]json.RawMessage
	var asked bandwidth
	if json.Unmarshal(given, &configuration) != nil ||
		json.Unmarshal(configuration["runtimeConfig"], &runtime) != nil ||
		json.Unmarshal(runtime["bandwidth"], &asked) != nil {
		return given
	}
	asked.IngressBurst = burst(asked.IngressRate)
	asked.EgressBurst = burst(asked.EgressRate)
	runtime["bandwidth"], _ = json.Marshal(asked)
	configuration["runtimeConfig"], _ = json.Marshal(runtime)
	changed, _ := json.Marshal(configuration)
	return changed
}

// burst is 0 without a rate: the plugin refuses one without the other.
func burst(rate uint64) uint64 {
	if rate == 0 {
		return 0
	}
	return max(rate/burstsPerSecond, leastBurst)
}
