"""`kubesteer config` as it is typed: output, exit codes, questions, and the files in scheduler-config/."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import pytest
import yaml

from tests.cli.command import run
from tests.scheduler_config.documents import document, entry
from tools.scheduler_files import made_files

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "scheduler-config").rglob("*.yaml"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "scheduler.yaml"


def test_the_files_are_what_is_made_for_each_way_to_deploy_and_each_tested_minor() -> None:
    """`make docs` writes them."""
    folder = ROOT / "scheduler-config"
    # 7 ways, 4 minors
    assert len(FILES) == 7 * 4
    assert {str(each.relative_to(folder)): each.read_text() for each in FILES} == made_files()


@pytest.mark.parametrize("each", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_is_what_the_command_at_its_head_makes_and_the_check_has_nothing_against_it(each: Path) -> None:
    program, *arguments = shlex.split(each.read_text().splitlines()[0].removeprefix("# Made by: "))
    assert program == "kubesteer"
    assert arguments[-2:] == ["--minor", each.parent.name]
    assert run(*arguments).out == each.read_text()
    assert run("config", "check", str(each), "--minor", each.parent.name).code == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({}, 0, id="all is well"),
        pytest.param({"httpTimeout": "2s"}, 1, id="a warning"),
        pytest.param({"weight": 0}, 2, id="an error"),
        pytest.param({"weight": 0, "httpTimeout": "2s"}, 2, id="both"),
    ],
)
def test_the_exit_code_tells_how_grave_it_is_in_either_form(file: Path, changes: dict[str, object], code: int) -> None:
    file.write_text(json.dumps(document(entry(**changes))))
    assert run("config", "check", str(file)).code == code
    assert run("config", "check", str(file), "--json").code == code


def test_a_finding_is_shown_with_field_value_reason_and_fix(file: Path) -> None:
    file.write_text(yaml.safe_dump(document(entry(weight=1))))
    shown = " ".join(run("config", "check", str(file), "--minor", "1.34").out.split())
    # 1 / (1 + 12) = 7.7 %: at least 7 %
    for text in (
        "for kube-scheduler 1.34: 1 warning, 2 notes",
        "extenders[0].weight = 1",
        "at least 7% of the score",
        "fix: write 12",
    ):
        assert text in shown


def test_the_json_form_has_everything_that_is_found(file: Path) -> None:
    file.write_text(
        "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nkind: KubeSchedulerConfiguration\n"
    )
    told = json.loads(run("config", "check", str(file), "--json").out)
    assert (told["file"], told["minor"], told["errors"], told["warnings"], told["notes"]) == (
        str(file),
        "1.37",
        1,
        2,
        0,
    )
    assert [each["rule"] for each in told["findings"]] == ["duplicate-key", "no-kubeconfig", "no-extender"]
    assert set(told["findings"][0]) == {"severity", "rule", "path", "value", "reason", "fix"}


def test_the_file_comes_from_standard_input_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(document(entry(weight=1)))))
    told = run("config", "check", "-", "--json")
    assert (told.code, json.loads(told.out)["file"]) == (1, "standard input")
    assert json.loads(told.out)["findings"][0]["rule"] == "weight-small"


@pytest.mark.parametrize(
    ("flags", "code"), [((), 1), (("--in-pod",), 0), (("--no-in-pod",), 1), (("--url", "http://127.0.0.1:8888"), 1)]
)
def test_a_flag_says_where_the_scheduler_runs(file: Path, flags: tuple[str, ...], code: int) -> None:
    file.write_text(json.dumps(document(clientConnection=None)))
    assert run("config", "check", str(file), *flags).code == code


def test_settings_are_read_for_check_and_for_make(file: Path, tmp_path: Path) -> None:
    settings = tmp_path / "kubesteer.yaml"
    settings.write_text("listen: {path_prefix: /scheduler}\n")
    arguments = ("--url", "http://127.0.0.1:8888/scheduler", "--settings", str(settings))
    assert run("config", "make", *arguments, "--output", str(file)).code == 0
    assert run("config", "check", str(file), "--settings", str(settings)).code == 0
    assert run("config", "check", str(file)).code == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(("check", "no-such-file"), 2, "no-such-file: No such file", id="no file"),
        pytest.param(("check", "FILE", "--minor", "1.20"), 2, "give a Kubernetes version", id="too old"),
        pytest.param(("check", "FILE", "--settings", "nowhere"), 2, "nowhere: No such file", id="no settings"),
        pytest.param(("check", "FILE"), 2, "no YAML", id="no YAML"),
        pytest.param(("make", "--weight", "12"), 1, "give 25% to 95%", id="a weight as a factor"),
        pytest.param(("make", "--output", "/nowhere/file"), 1, "output: ", id="no place to write"),
        pytest.param(("make", "--minor", "x"), 1, "give a Kubernetes version", id="no minor"),
        pytest.param(("make", "--pods", "some"), 2, "slo", id="a wrong command line"),
    ],
)
def test_what_cannot_be_done_ends_with_a_line_that_says_why(
    file: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    file.write_text("a: [")
    result = run("config", *(str(file) if each == "FILE" else each for each in arguments))
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err


def test_on_a_terminal_it_asks_and_writes_the_flags_that_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("https://a.svc:1\n/ca.crt\n-\nslo\n60%\nmine\n/mine.conf\n1.35\n"))
    result = run("config", "make")
    assert result.code == 0
    flags = "--url https://a.svc:1 --ca-file /ca.crt --pods slo --weight 60% --scheduler-name mine"
    flags += " --kubeconfig /mine.conf --minor 1.35"
    assert result.out.startswith(f"# Made by: kubesteer config make {flags}\n")
    assert "kubesteer's certificate" in result.err
    # 0.6 / 0.4 * 14 = 21
    assert yaml.safe_load(result.out)["extenders"][0]["weight"] == 21


def test_the_value_of_a_field_cannot_steer_the_terminal(file: Path) -> None:
    file.write_text(json.dumps(document(entry(urlPrefix="\x1b[2J"), apiVersion="\x1b]0;x\x07")))
    assert "\x1b" not in run("config", "check", str(file)).out
