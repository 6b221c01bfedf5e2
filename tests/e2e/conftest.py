"""Fixtures of the test bed."""

from tests.e2e.fixtures import binaries, control_plane, older_binaries

__all__ = ["binaries", "control_plane", "older_binaries"]
