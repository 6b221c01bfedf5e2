"""How the learning is measured, and why an aim is missed: sentences of the report. No figures that a run measures."""

METHOD = """\
50 nodes of 16 cores, 64 GiB and 10 Gbit/s; six pod types, services and jobs, that come at random and live half an hour
to three hours on average. Runs of `checkout`, 40 % of the pods, fail on 5 of the nodes with 60 %, after 2 minutes on
average; all other runs fail with 0.5 %. A failed run is restarted in place with the kubelet's back-off, so a pod on a bad
node fails 1.5 times on average before it runs. It lasts 36 hours, 6 half-lives of the default, from an empty cluster; each
bad node is repaired at a time of its own, between 1 and 3 half-lives from the start (dotted in the plot). The engine
chooses alone (short list of one) among all nodes; agents are real columns fed by the real judges, read through the real
reward table. Every policy meets the same pods with the same luck, for the same seed.

*Rough weather* has, at 60 % of the CPU: 2 nodes where `checkout` fails with 50 to 90 % (strong), 3 with 10 to 30 %
(weak), 2 where three types fail with 60 % (several types), 2 whose fault goes after half a half-life or more and comes back
1.5 half-lives later for good (comes back), three times 20 minutes in which 80 % of all runs of `checkout` fail everywhere
(outage); 30 % of the pods come in bursts of 30 of one type within the same second.

*Avoided*: the node gets none of the type's next 150 pods. *In use again*: it gets 3 of the next 300, half of an even
share. A node that is not by the end, or by when its fault comes back, counts for as long as it was looked at (Kaplan and
Meier) and in no mean; "never" stands where fewer than half were. *Oracle*: knows every fault of a node, before it shows;
*regret*: failed runs above its. *Spread*: standard deviation of fullness over the nodes, mean of CPU, memory and egress.
*Largest share*: of the type's running pods, where at least 10 run. *kubeRL's rule* has its events, means and
whole-numbered scores, at the weight that kubesteer's rewards have."""

WHY = """\
- **kubeRL's rule fails little because it seldom tries again.** Its scores are whole numbers: a node that failed once is 9
  where the others are 10, and stays so for as long as any other is 10. The price is that repaired nodes do not come back.
- **Failing little and trying soon pull against each other.** A visit to a node that fails 60 % costs 2.5 failed runs,
  whatever the rule: pods go there until one fails, and that one fails 2.5 times before it runs. A rule that visits every T
  half-lives finds a repaired node T / 2 late on average. With `mean` the time to the next visit depends on how much failed
  before, so some repaired nodes wait long; with `thompson` visits come at random, and there are more of them; `probation`
  says when (`rewards.shut_s`).
- **A node that is shut leaves its pods to others**, so a rule that avoids bad nodes well spreads pods less evenly. The
  oracle's spread is what that costs at the least."""
