"""How the learning is measured, and why an aim is missed: sentences of the report. No figures that a run measures."""

METHOD = """\
50 nodes of 16 cores, 64 GiB and 10 Gbit/s; six pod types, services and jobs, that come at random and live half an hour
to three hours on average. Runs of `checkout`, 40 % of the pods, fail on 5 of the nodes with 60 %, after 2 minutes on
average; all other runs fail with 0.5 %. A failed run is restarted in place with the kubelet's back-off, so a pod on a bad
node fails 1.5 times on average before it runs. It lasts 36 hours, 6 half-lives of the default, from an empty cluster; after
18 hours the first of the bad nodes is repaired. The engine chooses alone (short list of one) among all nodes; agents are
real columns fed by the real judges, read through the real reward table. Every policy meets the same pods with the same
luck, for the same seed.

*Avoided*: the node gets none of the type's next 150 pods. *In use again*: it gets 3 of the next 300, half of an even
share; a node that is not by the end counts with the 3 half-lives that were left. *Spread*: standard deviation of fullness
over the nodes, mean of CPU, memory and egress. *Largest share*: of the type's running pods, where at least 10 run.
*kubeRL's rule* has its events, means and whole-numbered scores, at the weight that kubesteer's rewards have; with *its
weight*, at 10 to 1 beside balance, as in its own scheduler configuration."""

WHY = """\
- **kubeRL's rule fails little because it never tries again.** Its scores are whole numbers: a node that failed once is 9
  where the others are 10, and stays so for as long as any other is 10. So it fails what it takes to meet each bad node
  once: 1 / 0.6 pods until one of them fails, 1.5 failed runs a pod, 2.5 failed runs a node, 12.5 in all, and the stray ones.
  A rule that has to find out by itself cannot halve that; the price is that the repaired node never comes back. Compare
  the runs that failed on bad nodes.
- **Failing little and trying soon pull against each other, and load decides.** Without learning a bad node costs 1.5 runs for
  each of the n pods that it gets in a half-life; trying it every two half-lives costs 0.75. To that comes 2.5 for meeting
  it, and the stray failures. A fifth of no learning's failures, and the repaired node within two half-lives, go together
  from about 7 pods a node and half-life on. With fewer, a longer half-life gives the same figures again, in its own units:
  **choose the half-life so that an ordinary node gets 8 or more pods of a type within it.**"""
