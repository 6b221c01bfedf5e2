"""How many examples Hypothesis tries: a share of each test's full number, EXAMPLES in the environment.

Every max_examples of a test comes from here; tests/front_door/test_no_test_depends_on_speed.py holds them to it.
"""

from __future__ import annotations

import os

SHARE = float(os.environ.get("EXAMPLES", "0.2"))
"""`make examples` tries all, `make test` a fifth."""


def examples(full: int) -> int:
    """Of a test that tries `full` where there is time."""
    return max(1, round(full * SHARE))
