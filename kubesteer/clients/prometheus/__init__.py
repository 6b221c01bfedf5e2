"""Measures of pods that Prometheus knows."""
