"""The user's own kubectl as a client of the API server, and a cluster in memory that answers as it does."""
