"""What a person adds to the figures: how they came about, and why an aim is missed. Text only."""

METHOD = """\
- **Single calls.** A Go client with blocking sockets on one core makes the calls that kube-scheduler makes, one in
  flight over keep-alive: filter, then prioritize with filter's answer; another pod UID and another window of nodes,
  mixed as by the scheduler's 16 workers, for each pod. All servers share the other core and take turns within one
  run; the first calls of a turn, with caches that another server left, are not counted. `floor` is a bare uvloop server
  that parses nothing and sends bytes made beforehand. kubesteer has 5,000 nodes, 40,000 pods, a reward for the pod's
  type on every node, the pod's SLO in both directions, balance, and charges of the pods before. Where all are refused,
  the pod asks for more than any node has left, and each node has another number left; nobody is asked for scores then.
- **The real scheduler.** kube-scheduler 1.37 with its defaults (it asks about 420 of 1,000 and 500 of 5,000 nodes);
  pods are created first, then the scheduler is started; from the first to the last binding that a watch shows. Variants
  take turns. kubesteer watches the API server and mirrors one reward a node from etcd. "Extender apart": the extender
  alone on one core, and scheduler, API server, etcd and the watching program on another, so that what the extender costs
  the others by its work is told from what the scheduler waits for it; the aims are of cores that all share.
- **Sync.** Nodes of 6 kB and pods of 4.5 kB from the real API server in pages of 500. The baseline asks for the same
  pages with the same client and drops them. Pauses are those of a task that sleeps 1 ms at a time; events are changes
  of pods at an even rate.
"""

MISSED = {
    "p50": """\
- **p50.** A call has a fixed price, and 100 names show it: filter takes 0.30 ms there and 0.33 ms at 500, prioritize 0.37
  and 0.46, so four fifths of a call at 500 names do not depend on the names. It is uvicorn's protocol with its bounds and
  one ASGI call, the pod's requests, metrics, and about 25 numpy calls in filter and 60 in prioritize at 1 to 2 µs, with
  caches that the other servers emptied; the do-nothing extender's fixed price is half of that. Names were the rest and
  are compiled now (`extender/wire/_names.c`): at 5,000 names filter takes 0.44 x the do-nothing extender. Prioritize has
  the rules of balance and the rewards of every name on top, about 0.14 ms a thousand names.
  Kept, each as a ratio of its part: the body cut at its keys 0.45, a usual pod's requests 0.45, nothing gathered where
  all have room 0.5 of filter's decision, the rules of balance 0.6 to 0.85, verbs as plain ASGI 0.88, prioritize without
  what only filter reads 0.8, names found by compiled code 0.6 of filter at 500 and 0.44 at 5,000. Dropped: stored
  reciprocals (another last bit for 5 µs). Not built: a decision in compiled code, which could take the numpy calls' 50 to
  100 µs.
""",
    "refused": """\
- **Refused.** A refusal pays for what a fit is spared: the columns are gathered and judged, and the answer is about twice
  as long. The words themselves are copied cells; a row's last words are rendered anew only when its numbers change.
""",
    "p99": """\
- **p99.** Where other programs run on the machine, they take the core for 3 to 5 ms at a time, and hit the longer call
  more often. Under a real-time priority (`chrt -f 10`) p99 was 1.2 to 2 x p50 on the same machine. The collector takes no
  part: what is loaded is frozen, and no full collection was seen in 1,200 calls.
""",
    "shortlist": """\
- **shortlist: 1.** A pod costs the scheduler no more CPU than without an extender, but two cores carry everything: its
  ranking, the watch event of its binding and HTTP want the cores that scheduler, API server and etcd want too. The
  scheduling cycle also waits for the call, and goes on alone otherwise: the rows "extender apart" show that part.
""",
    "all terms": """\
- **All terms.** Two calls a pod, and the watch event of its binding, on cores that the scheduler and the API server want
  too; the rows "extender apart" show what the scheduler pays where the extender has a core of its own.
""",
    "pause": """\
- **Pauses.** By the clock, which counts what the API server and the writer of the events take of the two cores; what
  kubesteer itself holds the loop for is in the table below.
""",
}
