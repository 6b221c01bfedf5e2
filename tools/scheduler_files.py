"""`make docs` writes scheduler-config/: for each tested minor, what `kubesteer config make` says for each way to deploy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kubesteer.cli.config import made_text
from kubesteer.cli.config_options import MakeOptions
from kubesteer.schedulerconfig.minors import TESTED

FOLDER = Path(__file__).resolve().parents[1] / "scheduler-config"
_FILES = "/etc/kubesteer"
_MUTUAL_TLS = MakeOptions(
    url="https://127.0.0.1:8888",
    ca_file=f"{_FILES}/ca.crt",
    client_cert=f"{_FILES}/tls.crt",
    client_key=f"{_FILES}/tls.key",
)
WAYS = {
    "all-pods": MakeOptions(pods="all"),
    "slo-pods-only": MakeOptions(pods="slo"),
    "depcon2": MakeOptions(pods="slo", resources="example.com/SLO"),
    "short-list": MakeOptions(shortlist=1),
    "pinned-weights": MakeOptions(weight="60%", pin_weights=True),
    "mtls": _MUTUAL_TLS,
    "second-scheduler": replace(
        _MUTUAL_TLS, url="https://kubesteer-extender.kubesteer.svc:8888", scheduler_name="kubesteer"
    ),
}


def made_files() -> dict[str, str]:
    """Each file's text, by its path in the folder."""
    return {
        f"1.{minor}/{way}.yaml": made_text(replace(options, minor=f"1.{minor}"))
        for minor in TESTED
        for way, options in WAYS.items()
    }


def main() -> None:
    made = made_files()
    for path in FOLDER.rglob("*.yaml"):
        if str(path.relative_to(FOLDER)) not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(text)
    print(f"{len(made)} files in scheduler-config/")


if __name__ == "__main__":
    main()
