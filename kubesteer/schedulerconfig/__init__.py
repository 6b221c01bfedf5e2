"""KubeSchedulerConfiguration for kubesteer: what is wrong with one, and how to write one. Pure: no files, no clock."""
