"""The kubelet's own account of its pods."""
