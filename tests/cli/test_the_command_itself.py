"""The command as a process: help, errors, exit codes, and the store that options and environment choose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubesteer.cli.rewards import app as rewards
from kubesteer.cli.rewards_mistakes import COMMANDS
from kubesteer.cli.rewards_options import StoreOptions, completed
from kubesteer.model.errors import InvalidSettings
from kubesteer.model.reward import below
from tests.cli.command import EtcdCase, FileCase, record, run
from tests.rewards.certificates import Certificates
from tests.rewards.etcd_server import EtcdServer, free_ports

HEAVY = ("numpy", "grpc", "aetcd", "yaml", "kubesteer.clients.rewards.etcd")


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kubesteer.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        timeout=60,
    )


@pytest.mark.parametrize("command", ["show", "explain", "set", "reset", "export", "import"])
def test_help_of_every_command_comes_with_examples_and_the_store(command: str) -> None:
    result = run("rewards", command, "--help")
    assert result.code == 0
    for text in ("Examples:", "kubesteer rewards explain web node-3", "--etcd", "KUBESTEER_ETCD_PASSWORD_FILE"):
        assert text in result.out


def test_the_commands_that_a_mistake_is_told_of_are_the_ones_there_are() -> None:
    assert set(COMMANDS) == {name for name in rewards if not name.startswith("-")}


def test_help_imports_nothing_heavy() -> None:
    probe = (
        "import sys\nfrom kubesteer.cli.main import app\n"
        "try:\n    app(['rewards', '--help'])\nexcept SystemExit:\n    pass\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "reset" in result.stdout
    assert result.stderr.strip() == "[]"


def test_an_etcd_that_does_not_answer_is_one_line_and_exit_code_1() -> None:
    [port] = free_ports(1)
    result = process("rewards", "--etcd", f"127.0.0.1:{port}")
    assert (result.returncode, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert f"etcd 127.0.0.1:{port}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "want"),
    [
        (("rewards", "explain", "web"), 2, "NODE is missing: give it in its place, or with --node."),
        (("rewards", "set", "web", "n1", "--mean", "1"), 2, "--evidence is missing."),
        (("rewards", "frob"), 2, "No such command: 'frob'. There are show, explain, set, reset, export, import."),
        (("rewards", "--policy", "ewma", "set", "web", "n"), 2, "after the command: kubesteer rewards set web n"),
        (("rewards", "--most", "0"), 2, "Must be >= 1"),
        (("rewards", "set", "web", "n1", "--mean", "high", "--evidence", "1"), 2, "--mean"),
        (("rewards", "--file", "a.yaml", "--etcd", "b:2379"), 1, "--etcd, --file: give a file or etcd, not both"),
        (("rewards", "--file", "none.yaml"), 1, "none.yaml cannot be read: No such file or directory"),
        (("rewards", "--etcd", "b"), 1, "endpoints: 'b' is not host:port or https://host:port"),
        (("rewards", "--etcd", "b:1", "--user", "me"), 1, "user and password belong together; give both or neither"),
        (("rewards", "--etcd", "b:1", "--password-file", "no"), 1, "password_file: [Errno 2]"),
        (("rewards", "--file", "examples/rewards.yaml", "--half-life-s", "0"), 1, "half_life_s 0.0 is not 1 or more"),
    ],
)
def test_a_mistake_names_the_option_the_value_and_the_rule(arguments: tuple[str, ...], code: int, want: str) -> None:
    result = run(*arguments)
    assert result.code == code
    assert want in " ".join((result.err + result.out).replace("│", " ").split())


def test_the_process_reads_its_store_from_the_environment(in_etcd: EtcdCase) -> None:
    in_etcd.fill([record("n1", "web")])
    answer = process("rewards", "--json", KUBESTEER_ETCD=in_etcd.server.address, KUBESTEER_ETCD_PREFIX=in_etcd.prefix)
    assert [row["node"] for row in json.loads(answer.stdout)["rewards"]] == ["n1"]


@pytest.mark.parametrize(
    ("options", "environ", "want"),
    [
        pytest.param({}, {}, {}, id="nothing said"),
        pytest.param({}, {"KUBESTEER_ETCD": "a:1"}, {"etcd": "a:1"}, id="etcd from the environment"),
        pytest.param({}, {"KUBESTEER_ETCD": ""}, {}, id="empty is not said"),
        pytest.param({"etcd": "b:1"}, {"KUBESTEER_ETCD": "a:1"}, {"etcd": "b:1"}, id="the command line counts"),
        pytest.param(
            {"etcd": "b:1"},
            {"KUBESTEER_ETCD_USER": "me", "KUBESTEER_REWARDS_FILE": "f"},
            {"etcd": "b:1", "user": "me"},
            id="etcd on the command line, its user from the environment, no file",
        ),
        pytest.param({"file": Path("f")}, {"KUBESTEER_ETCD": "a:1"}, {"file": Path("f")}, id="file before etcd"),
        pytest.param({}, {"KUBESTEER_REWARDS_FILE": "f"}, {"file": Path("f")}, id="file from the environment"),
    ],
)
def test_the_command_line_comes_before_the_environment(
    options: dict[str, object], environ: dict[str, str], want: dict[str, object]
) -> None:
    assert completed(StoreOptions(**options), environ) == StoreOptions(**want)


@pytest.mark.parametrize(
    ("options", "environ", "want"),
    [
        ({"file": Path("f"), "user": "me"}, {}, "--user, --file: give a file or etcd, not both"),
        (
            {},
            {"KUBESTEER_REWARDS_FILE": "f", "KUBESTEER_ETCD": "a:1"},
            "KUBESTEER_ETCD, KUBESTEER_REWARDS_FILE: give a file or etcd, not both",
        ),
    ],
)
def test_two_stores_at_once_are_refused(options: dict[str, object], environ: dict[str, str], want: str) -> None:
    with pytest.raises(InvalidSettings, match=want):
        completed(StoreOptions(**options), environ)


def test_an_etcd_with_client_certificates_is_read(tmp_path: Path) -> None:
    with EtcdServer(certificates=Certificates(tmp_path, clients_must_show_theirs=True)) as server:
        case = EtcdCase(server, "/kubesteer")
        case.fill([record("n1", "web")])
        files = [f"--{name.replace('_', '-')}={path}" for name, path in server.certificates.client_options().items()]
        rows = run("rewards", "--json", "--etcd", server.address, *files).json["rewards"]
        assert [row["node"] for row in rows] == ["n1"]
        assert run("rewards", "--etcd", server.address).code == 1


def test_an_etcd_with_passwords_is_read_and_changed(tmp_path: Path) -> None:
    with EtcdServer() as server:
        case = EtcdCase(server, "/kubesteer")
        case.fill([record("n1", "web", 0.2)])
        server.turn_auth_on({"operator": [below(b"/kubesteer/")]}, "secret word")
        secret = tmp_path / "password"
        secret.write_text("secret word\n")
        login = ("--etcd", server.address, "--user", "operator", "--password-file", str(secret))
        assert run("rewards", "set", "web", "n1", "--mean", "0.9", "--evidence", "9", *login).code == 0
        assert run("rewards", "--json", *login).json["rewards"][0]["recordedMean"] == 0.9
        secret.write_text("wrong")
        assert run("rewards", *login).code == 1


def test_the_commands_that_a_document_shows_exist(in_file: FileCase) -> None:
    """`kubesteer --help` names the two commands, lazily loaded."""
    out = run("--help").out
    assert "rewards" in out
    assert "try" in out
    assert run("try", "--help").code == 0
    in_file.fill([])
    assert run("rewards", *in_file.options).code == 0
