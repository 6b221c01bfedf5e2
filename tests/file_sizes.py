"""`make lint`: source files stay under 400 lines, tests under 600. Prints those that do not."""

import subprocess
import sys
from pathlib import Path

MOST = {"tests": 600, "kubesteer": 400, "extender": 400, "monitor_agent": 400, "tools": 400}


def main() -> None:
    names = subprocess.run(["git", "ls-files", "*.py"], capture_output=True, text=True, check=True).stdout.split()
    long = [
        f"{name}: {count} lines, at most {most}"
        for name in names
        if (most := MOST.get(Path(name).parts[0])) and (count := Path(name).read_text().count("\n")) > most
    ]
    sys.exit("\n".join(long) or 0)


if __name__ == "__main__":
    main()
