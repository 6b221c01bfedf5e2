"""`make chart`: writes chart/templates and chart/files anew from manifests/, and the table of values in its README."""

from __future__ import annotations

import json
import sys

import yaml

from tools.chart.making import CHART, RuleError, made_files, read_rules, stale_files
from tools.chart.values_table import with_table

SCHEMA = CHART / "values.schema.json"


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
    readme = CHART / "README.md"
    values, schema = yaml.safe_load((CHART / "values.yaml").read_text()), json.loads(SCHEMA.read_text())
    readme.write_text(with_table(readme.read_text(), values, schema))
    print(f"{len(made)} files in chart/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
