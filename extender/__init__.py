"""Service 1: the scheduler extender over HTTP."""
