"""The scheduler extender's wire format (k8s.io/kube-scheduler extender/v1): bytes in, bytes out. No decision here."""
