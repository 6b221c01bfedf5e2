"""The user's own kubectl as a client of the API server."""
