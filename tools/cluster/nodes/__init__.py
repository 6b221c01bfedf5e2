"""Real nodes on one machine: kubelet, containerd, runc and CNI, each node in namespaces of its own.

`RealNodes` starts and stops them beside a control plane; images come from local root file systems, never a registry.
"""
