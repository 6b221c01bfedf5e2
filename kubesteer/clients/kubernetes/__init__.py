"""Nodes and pods from the API server, read with a list and watch of our own, or from a cluster file."""
