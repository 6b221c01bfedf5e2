"""`python -m extender.wire.compile_names`: builds _names.c beside its source, for the Python that runs this.

Without a compiler or Python's headers it says so and changes nothing: names are decoded instead. Needs no package.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCE = Path(__file__).with_name("_names.c")


def main() -> int:
    """0 too where nothing could be built, unless it must be."""
    top = argparse.ArgumentParser(prog="python -m extender.wire.compile_names", description="Build the name finder.")
    top.add_argument("--required", action="store_true", help="fail where it cannot be built")
    arguments = top.parse_args()
    fault = build()
    sys.stdout.write(f"names are found by {'compiled code' if fault is None else f'Python code: {fault}'}\n")
    return 1 if fault and arguments.required else 0


def build(source: Path = SOURCE, folder: Path = SOURCE.parent, flags: tuple[str, ...] = ()) -> str | None:
    """Builds it into that folder; returns what hinders it."""
    config = sysconfig.get_config_vars()
    target = folder / f"{source.stem}{config['EXT_SUFFIX']}"
    new = target.with_suffix(".new")
    command = [*shlex.split(config["LDSHARED"]), "-fPIC", "-O2", "-g0", f"-I{sysconfig.get_path('include')}", *flags]
    try:
        done = subprocess.run([*command, str(source), "-o", str(new)], capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        return f"no compiler ({error})"
    if done.returncode != 0:
        new.unlink(missing_ok=True)
        return f"{command[0]}: {done.stderr.strip().splitlines()[-1:]}"
    new.replace(target)
    return None


if __name__ == "__main__":
    sys.exit(main())
