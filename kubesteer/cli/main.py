"""The `kubesteer` command. Thin: every command calls one capability, and is imported when it is called."""

from __future__ import annotations

import cyclopts

from kubesteer.clients.own_version import own_version

app = cyclopts.App(
    name="kubesteer",
    version=own_version,
    help="Steer pods to the nodes where they will do well.",
    help_epilogue="""Examples:

  kubesteer try                             where a few pods would go, and why
  kubectl get deployment web -o yaml | kubesteer try - --json
  kubesteer rewards                         what was learned of pods and nodes
  kubesteer rewards explain web node-3
  kubesteer deploy --dry-run                what it takes on your cluster
""",
    help_format="plaintext",
)
app.command("kubesteer.cli.trial:try_pods", name="try", help="Ask a running extender where pods would go, and why.")
app.command(
    "kubesteer.cli.rewards:app", name="rewards", help="What was learned: show, explain, set, reset, export, import."
)
app.command("kubesteer.cli.config:app", name="config", help="kube-scheduler's configuration: check one, or make one.")
app.command("kubesteer.cli.keep:app", name="keep", help="Keep certificates, and etcd's users, as they must be.")
app.command("kubesteer.cli.deploy:deploy_app", name="deploy", help="Deploy kubesteer on a cluster, and prove it.")
app.command("kubesteer.cli.deploy:undeploy_app", name="undeploy", help="Remove it, and show that nothing is left.")
app.command("kubesteer.cli.deploy:status_app", name="status", help="How the deployment stands, and what is wrong.")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
