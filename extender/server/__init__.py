"""The two HTTP servers of one event loop: what a connection may hold and how long, TLS, start and stop. No routes."""
