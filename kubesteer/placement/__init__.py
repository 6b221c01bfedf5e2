"""Deciding where a pod goes: node table, filter, scores, charges, and the engine. numpy, no I/O, no clock."""
