"""`make chart`: writes chart/templates and chart/files anew from manifests/."""

from __future__ import annotations

import sys

from tools.chart.making import CHART, RuleError, made_files, read_rules, stale_files


def main() -> int:
    try:
        made = made_files(read_rules())
    except RuleError as error:
        print(error, file=sys.stderr)
        return 1
    for path in stale_files(made):
        (CHART / path).unlink()
    for path, text in made.items():
        (CHART / path).parent.mkdir(parents=True, exist_ok=True)
        (CHART / path).write_text(text)
    print(f"{len(made)} files in chart/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
