"""`make try`: starts the extender on the example cluster, on free ports, asks about the example pods, and stops it."""

import subprocess
import sys

from tools.cluster.extender import ROOT, Extender


def main() -> None:
    settings = {
        "cluster": {"source": "file", "file": "examples/cluster.yaml"},
        "rewards": {"source": "file", "file": "examples/rewards.yaml"},
    }
    with Extender(settings) as extender:
        print("The extender runs on the example cluster; this is what it says of examples/pods.yaml:\n", flush=True)
        command = [sys.executable, "-m", "kubesteer.cli.main", "try", "--ops", extender.ops]
        result = subprocess.run(command, cwd=ROOT, check=False)
    sys.exit(result.returncode)


if __name__ == "__main__":
    main()
