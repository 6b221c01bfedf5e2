"""/explain in a process of its own: whatever it takes, the verbs' event loop gathers some arrays for it, no more."""
