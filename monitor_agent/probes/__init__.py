"""What the agent measures on its node: the link, its traffic and each pod's. No API server, no store."""
