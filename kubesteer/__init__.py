"""kubesteer steers pods to the nodes where they will do well. The library; the services are beside it."""
