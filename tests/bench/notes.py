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
- **p50.** At 500 names filter takes about 0.2 ms more than the do-nothing Go extender. HTTP is 0.07 ms of it all, little
  more than the floor. The rest is Python with caches that the other servers emptied: hashing and finding 500 names 40
  to 70 µs, decoding 30 µs, the pod's requests 25 µs, 40 numpy calls at 1 to 2 µs. Tried and kept: past FastAPI's routing
  for the two verbs (70 µs), prioritize reuses what filter decoded, scores written by one gather, no rewards and charges
  where no score is made (35 µs), no verdict arithmetic where every node has room (10 µs). Tried and dropped:
  `np.fromiter` and `itemgetter` instead of joined row numbers (no faster: hashing is most of it), names copied to
  adjacent memory (10 µs).
""",
    "p99": """\
- **p99.** Where other programs run on the machine, they take the core for 3 to 5 ms at a time, and hit the longer call
  more often. Under a real-time priority (`chrt -f 10`) p99 was 1.2 to 2 x p50 on the same machine. The collector takes no
  part: what is loaded is frozen, and no full collection was seen in 1,200 calls.
""",
    "shortlist": """\
- **shortlist: 1.** A pod costs the scheduler no more CPU than without an extender, but two cores carry everything: a pod
  takes about 6 ms of CPU in scheduler, API server, etcd and watcher, and kubesteer adds 1 ms (filter with ranking 0.6 to
  0.7 ms as caches are cold, the watch event of the binding 0.2 ms, the rest HTTP). The scheduling cycle also waits for the
  call, and goes on alone otherwise. Where the scheduler has its own cores the second part remains.
""",
    "all terms": """\
- **All terms.** Two calls a pod take 0.3 to 0.4 ms longer than the do-nothing extender's, and the watch 0.2 ms of CPU, on
  cores that the scheduler and the API server want too.
""",
    "pause": """\
- **Pauses.** By the clock, which counts what the API server and the writer of the events take of the two cores; what
  kubesteer itself holds the loop for is in the table below.
""",
}
