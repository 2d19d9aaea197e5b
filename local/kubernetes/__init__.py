"""Runs the pods of a Kubernetes cluster on this machine, as a kubelet would: their own containers, probes and hooks."""
