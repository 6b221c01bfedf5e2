"""Service 2: one agent on each node, which measures, learns and publishes. Never placement, never numpy."""
