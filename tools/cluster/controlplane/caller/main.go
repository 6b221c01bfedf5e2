// Caller measures scheduler extenders side by side, one call in flight, as
// kube-scheduler makes them: filter, then prioritize with filter's answer.
// It reads a plan from standard input and writes what it measured to standard
// output, both JSON. Sockets block, so no scheduler of Go's stands in between.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type plan struct {
	Rounds, Pods, WarmUp int
	Uncounted            int // first calls of each turn
	Targets              []target
	Cases                []shape
	Names                []string
	Nodes                []json.RawMessage
	Pod                  string // JSON in which @ID@ stands for what differs from pod to pod
	Large                string // the same of a pod that no node has room for
}

type target struct {
	Name, Address string
	Process       int
}

type shape struct {
	Name       string
	Candidates int
	Full       bool   // full Nodes, not NodeNames
	Refused    bool   // the large pod, which no node may pass: nobody is asked for scores
	Only       string // the one target that is called; all where empty
}

type measured struct {
	Case, Target      string
	FilterUS, ScoreUS []float64
	CPUPerCallUS      float64
	RSSKiB            int
	cpuNS             int64
	calls             int
}

func main() {
	log.SetFlags(0)
	var p plan
	if err := json.NewDecoder(os.Stdin).Decode(&p); err != nil {
		log.Fatal("plan: ", err)
	}
	debug.SetGCPercent(-1)
	links := make([]*link, len(p.Targets))
	for i, t := range p.Targets {
		links[i] = dial(t.Address)
	}
	results := map[string]*measured{}
	var inOrder []*measured
	for round := -1; round < p.Rounds; round++ {
		pods := p.Pods
		if round < 0 {
			pods = p.WarmUp
		}
		for _, s := range p.Cases {
			for turn := range p.Targets {
				which := (turn + round + 1) % len(p.Targets)
				t, key := p.Targets[which], s.Name+"/"+p.Targets[which].Name
				if s.Only != "" && s.Only != t.Name {
					continue
				}
				if results[key] == nil {
					results[key] = &measured{Case: s.Name, Target: t.Name}
					inOrder = append(inOrder, results[key])
				}
				runtime.GC()
				before := cpuNS(t.Process)
				filter, score := batch(&p, s, links[which], pods, fmt.Sprintf("%d-%s", round, s.Name))
				if round >= 0 {
					m := results[key]
					m.FilterUS, m.ScoreUS = append(m.FilterUS, filter...), append(m.ScoreUS, score...)
					m.cpuNS += cpuNS(t.Process) - before
					m.calls += verbs(s) * (pods + p.Uncounted)
					m.CPUPerCallUS = float64(m.cpuNS) / 1e3 / float64(m.calls)
					m.RSSKiB = rssKiB(t.Process)
				}
			}
		}
		log.Printf("round %d of %d", round+1, p.Rounds)
	}
	if err := json.NewEncoder(os.Stdout).Encode(inOrder); err != nil {
		log.Fatal(err)
	}
}

func verbs(s shape) int {
	if s.Refused {
		return 1
	}
	return 2
}

func batch(p *plan, s shape, l *link, pods int, id string) (filter, score []float64) {
	start := rand.IntN(len(p.Names))
	for i := -p.Uncounted; i < pods; i++ {
		template := p.Pod
		if s.Refused {
			template = p.Large
		}
		pod := strings.ReplaceAll(template, "@ID@", fmt.Sprintf("%s-%d", id, i))
		window := order(start, s.Candidates, len(p.Names))
		start = (start + s.Candidates) % len(p.Names)
		answer, took := l.call("/filter", body(pod, s.Full, candidates(p, s, window)))
		if i >= 0 {
			filter = append(filter, took)
		}
		passed := passedBy(answer, s.Full)
		if s.Refused {
			if string(passed) != "[]" {
				log.Fatalf("filter: %s passed", passed)
			}
			continue
		}
		scores, took := l.call("/prioritize", body(pod, s.Full, passed))
		check(scores, s)
		if i >= 0 {
			score = append(score, took)
		}
	}
	return filter, score
}

// order is that of kube-scheduler's list of feasible nodes: a window that goes
// round the cluster, its pieces mixed by 16 workers that run at once.
func order(start, count, nodes int) []int {
	const workers = 16
	piece := max(1, count/workers/4)
	var pieces [][]int
	for at := 0; at < count; at += piece {
		var one []int
		for i := at; i < min(at+piece, count); i++ {
			one = append(one, (start+i)%nodes)
		}
		pieces = append(pieces, one)
	}
	var mixed []int
	open := []int{}
	next := 0
	for next < len(pieces) || len(open) > 0 {
		for len(open) < workers && next < len(pieces) {
			open = append(open, next)
			next++
		}
		at := rand.IntN(len(open))
		one := open[at]
		mixed = append(mixed, pieces[one][0])
		if pieces[one] = pieces[one][1:]; len(pieces[one]) == 0 {
			open = append(open[:at], open[at+1:]...)
		}
	}
	return mixed
}

func candidates(p *plan, s shape, window []int) []byte {
	var b bytes.Buffer
	for i, n := range window {
		if i > 0 {
			b.WriteByte(',')
		}
		if s.Full {
			b.Write(p.Nodes[n])
		} else {
			b.WriteString(`"` + p.Names[n] + `"`)
		}
	}
	if s.Full {
		return []byte(`{"metadata":{},"items":[` + b.String() + `]}`)
	}
	return []byte("[" + b.String() + "]")
}

func body(pod string, full bool, nodes []byte) []byte {
	if full {
		return []byte(`{"Pod":` + pod + `,"Nodes":` + string(nodes) + `,"NodeNames":null}`)
	}
	return []byte(`{"Pod":` + pod + `,"Nodes":null,"NodeNames":` + string(nodes) + `}`)
}

func passedBy(answer []byte, full bool) []byte {
	var result struct {
		Nodes, NodeNames json.RawMessage
		Error            string
	}
	if err := json.Unmarshal(answer, &result); err != nil || result.Error != "" {
		log.Fatalf("filter: %v %s", err, result.Error)
	}
	if full {
		return result.Nodes
	}
	return result.NodeNames
}

func check(answer []byte, s shape) {
	var scores []struct{ Host string }
	if err := json.Unmarshal(answer, &scores); err != nil || len(scores) != s.Candidates {
		log.Fatalf("prioritize: %d scores for %d candidates (%v)", len(scores), s.Candidates, err)
	}
}

// link is one keep-alive connection over a blocking socket.
type link struct {
	file    *os.File
	address string
	reader  *bufio.Reader
	answer  bytes.Buffer
}

func dial(address string) *link {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	file, err := connection.(*net.TCPConn).File()
	if err != nil {
		log.Fatal(err)
	}
	if err := syscall.SetNonblock(int(file.Fd()), false); err != nil {
		log.Fatal(err)
	}
	return &link{file: file, address: address, reader: bufio.NewReaderSize(file, 1<<16)}
}

func (l *link) call(path string, body []byte) (answer []byte, tookUS float64) {
	request := append([]byte("POST "+path+" HTTP/1.1\r\nHost: "+l.address+
		"\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: "+strconv.Itoa(len(body))+
		"\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n"), body...)
	l.answer.Reset()
	began := time.Now()
	if _, err := l.file.Write(request); err != nil {
		log.Fatalf("%s: %v", l.address, err)
	}
	response, err := http.ReadResponse(l.reader, nil)
	if err != nil {
		log.Fatalf("%s: %v", l.address, err)
	}
	if _, err := l.answer.ReadFrom(response.Body); err != nil || response.StatusCode != http.StatusOK {
		log.Fatalf("%s%s: %s %v", l.address, path, response.Status, err)
	}
	tookUS = float64(time.Since(began).Nanoseconds()) / 1e3
	return l.answer.Bytes(), tookUS
}

// cpuNS is what all threads of a process have run so far.
func cpuNS(process int) int64 {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", process))
	var sum int64
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			ran, _ := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
			sum += ran
		}
	}
	return sum
}

func rssKiB(process int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", process))
	if err != nil {
		log.Fatal(err)
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize() / 1024
}
