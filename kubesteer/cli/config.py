"""`kubesteer config`: checks a kube-scheduler's configuration, or makes one. Thin: schedulerconfig decides.

What needs YAML or rich is imported when a command runs, so that `--help` is quick.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from cyclopts import App, Parameter

from kubesteer.cli.config_options import MakeOptions, asked
from kubesteer.model.errors import InvalidInput

if TYPE_CHECKING:
    from kubesteer.schedulerconfig.making import Answers
    from kubesteer.schedulerconfig.service import Service

Json = Annotated[bool, Parameter(name="--json", negative="")]
Settings = Annotated[Path | None, Parameter(help="kubesteer's own settings file, with which it must agree.")]
_WIDTH_WITHOUT_TERMINAL = 120

app = App(
    name="config",
    help="kube-scheduler's configuration for kubesteer: what is wrong with one, and how to write one.",
    help_epilogue="""Examples:

  kubesteer config check scheduler.yaml --minor 1.34
  kubesteer config check scheduler.yaml --settings kubesteer.yaml --json
  kubectl -n kube-system get configmap my-scheduler -o yaml | kubesteer config check - --in-pod
  kubesteer config make > scheduler.yaml              asks, on a terminal
  kubesteer config make --pods slo --weight 60% --output scheduler.yaml
  kubesteer config make --url https://kubesteer-extender.kubesteer.svc:8888 --ca-file /etc/kubesteer/ca.crt

Exit code of check: 0 all is well; 1 warnings; 2 kube-scheduler refuses the file, or it cannot be read.
Of make: 0 made; 1 the answers do not go together, and the reason in a line. 2, of both: a wrong command line.
""",
    help_format="plaintext",
)


@app.command
def check(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    *,
    minor: str = "1.37",
    settings: Settings = None,
    in_pod: bool | None = None,
    url: str | None = None,
    as_json: Json = False,
) -> None:
    """What a kube-scheduler and kubesteer would make of a KubeSchedulerConfiguration.

    Parameters
    ----------
    file:
        The file, or a ConfigMap that has it; - for standard input.
    minor:
        The scheduler's version, such as 1.37.
    in_pod:
        The scheduler runs in a pod with a ServiceAccount and the cluster's DNS, or not; else the file tells.
    url:
        The urlPrefix that is kubesteer's, where the file has several extenders.
    as_json:
        For scripts.
    """
    from kubesteer.cli.config_report import as_document, exit_code, report  # noqa: PLC0415
    from kubesteer.schedulerconfig.checking import check_text  # noqa: PLC0415
    from kubesteer.schedulerconfig.minors import parse_minor  # noqa: PLC0415

    try:
        number = parse_minor(minor)
        service = _service(settings)
        with _naming(file):
            findings = check_text(_text(file), number, service, in_pod=in_pod, url=url)
    except InvalidInput as exc:
        _fail(str(exc), 2)
    name = "standard input" if str(file) == "-" else str(file)
    if as_json:
        sys.stdout.write(json.dumps(as_document(name, number, findings), indent=2, default=str) + "\n")
    else:
        from rich.console import Console  # noqa: PLC0415

        Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL).print(report(name, number, findings))
    sys.exit(exit_code(findings))


@app.command
def make(*, options: MakeOptions | None = None, settings: Settings = None, output: Path | None = None) -> None:
    """Write a KubeSchedulerConfiguration that `check` has nothing against.

    Without a flag, on a terminal, it asks.

    Parameters
    ----------
    output:
        File to write; without it, standard output.
    """
    said = options or MakeOptions()
    try:
        if not said.words() and settings is None and sys.stdin.isatty():
            said = asked(_question)
        text = made_text(said, settings)
    except InvalidInput as exc:
        _fail(str(exc), 1)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as exc:
        _fail(f"output: {exc}", 1)


def made_text(said: MakeOptions, settings: Path | None = None) -> str:
    """The file that these options make, with the command at its head. Raises InvalidInput."""
    from kubesteer.schedulerconfig.making import head_lines  # noqa: PLC0415
    from kubesteer.schedulerconfig.making import make as made  # noqa: PLC0415
    from kubesteer.schedulerconfig.reading import render  # noqa: PLC0415

    answers = _answers(said, _service(settings))
    document = made(answers)
    words = [
        *replace(said, minor=f"1.{answers.minor}").words(),
        *(["--settings", str(settings)] if settings else []),
    ]
    command = shlex.join(["kubesteer", "config", "make", *words])
    return render(document, [f"Made by: {command}", *head_lines(answers, document)])


def _answers(said: MakeOptions, service: Service) -> Answers:
    """Raises InvalidInput."""
    from kubesteer.schedulerconfig.making import Answers, parse_share  # noqa: PLC0415
    from kubesteer.schedulerconfig.minors import parse_minor  # noqa: PLC0415

    given: dict[str, Any] = {
        "url": said.url,
        "ca_file": said.ca_file,
        "client_cert": said.client_cert,
        "client_key": said.client_key,
        "pods": said.pods,
        "resources": tuple(name.strip() for name in said.resources.split(",")) if said.resources else None,
        "shortlist": said.shortlist,
        "share": parse_share(said.weight) if said.weight else None,
        "scheduler_name": said.scheduler_name,
        "kubeconfig": said.kubeconfig,
        "pinned": said.pin_weights,
        "fail_safe": said.fail_safe,
        "minor": parse_minor(said.minor) if said.minor else None,
    }
    return Answers(service=service, **{name: value for name, value in given.items() if value is not None})


def _service(settings: Path | None) -> Service:
    """The extender as its settings file makes it. Raises InvalidInput."""
    from kubesteer.schedulerconfig.reading import read  # noqa: PLC0415
    from kubesteer.schedulerconfig.service import Service, service_from  # noqa: PLC0415

    if settings is None:
        return Service()
    with _naming(settings):
        return service_from(read(_text(settings)).document or {})


def _text(file: Path) -> str:
    """What is in it; - is standard input."""
    return sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Names the file in what is wrong with it. Raises InvalidInput."""
    try:
        yield
    except (OSError, UnicodeDecodeError, InvalidInput) as exc:
        raise InvalidInput(f"{file}: {getattr(exc, 'strerror', None) or exc}") from exc


def _question(text: str, default: str) -> str:
    """Asked on standard error, so that standard output can go into a file."""
    print(f"{text} [{default}] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or default


def _fail(text: str, code: int) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(code)
