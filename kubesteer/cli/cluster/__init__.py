"""How `kubesteer deploy`, `undeploy` and `status` go about it, through a port. ../deploy.py has the commands."""
