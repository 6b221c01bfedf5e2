"""The only library room with network and file I/O: etcd, Kubernetes, cluster files, and their fakes."""
