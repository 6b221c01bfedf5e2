"""`python -m monitor_agent.probes`: what the agent would see of this machine's network, as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from monitor_agent.probes.links import LinkSettings, read_link
from monitor_agent.probes.rates import RateRules
from monitor_agent.probes.traffic import NodeTraffic


def main() -> None:
    """Print the link, and its traffic over `--seconds`."""
    parser = argparse.ArgumentParser(prog="python -m monitor_agent.probes", description=main.__doc__)
    parser.add_argument("--interface", help="instead of the one that carries the default route")
    parser.add_argument("--trust-virtual", action="store_true", help="take the speed that a virtual interface reports")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where proc and sys are mounted")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long traffic is counted; 0 leaves it out")
    asked = parser.parse_args()
    link = read_link(LinkSettings(asked.interface, asked.trust_virtual, asked.root))
    found: dict[str, object] = asdict(link)
    if asked.seconds > 0:
        traffic = NodeTraffic(RateRules(longest_window_s=max(120.0, 2 * asked.seconds)), root=asked.root)
        traffic.read(link.limited_by, time.monotonic())
        time.sleep(asked.seconds)
        found["rate_bps"] = traffic.read(link.limited_by, time.monotonic())
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
