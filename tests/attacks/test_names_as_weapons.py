"""Names that are made to be read by others: by who watches the log, by a terminal, by Prometheus."""

from __future__ import annotations

import contextlib
import io
import json
import random
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from extender.logs import make_logger
from tests.attacks.target import Target, answered, post
from tests.builders import EGRESS_ANNOTATION, Json, pod
from tests.waiting import wait_until

WEAPONS = {
    "a line of its own": 'web\n{"event":"listening","level":"info"}',
    "a carriage return": "web\rlevel=error event=gone",
    "a screen wiped": "\x1b[2J\x1b[1;1Hall is well",
    "a title that types": "\x1b]0;rm -rf /\x07",
    "a C1 control": "web\x9b31m",
    "line separators": "web\u2028second\u2029third\x85fourth\x0bfifth\x0csixth",
    "right to left": "web\u202egpj.exe",
    "a NUL": "web\x00",
    "a format": "%s%n{0}{event}[red]web[/red]",
    "half a pair": "web\\ud800",
    "a long one": "x" * 100_000,
}
CONTROLS = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029", "\u202e"}


@pytest.fixture(scope="module", params=["json", "console"])
def told(request: pytest.FixtureRequest) -> Iterator[Target]:
    with Target({"log": {"format": request.param, "level": "debug"}}) as running:
        # On a console, the commands to try come once the nodes are known; an empty line ends them.
        wait_until(lambda: running.lines()[-1:] == [""] or request.param == "json")
        yield running


def everywhere(weapon: str) -> list[Json]:
    """Requests that put it wherever a client or a pod's author can put a text."""
    broken = pod(weapon, containers=[{"name": weapon, "resources": {"requests": {"cpu": weapon}}}])
    return [
        {"Pod": pod(weapon, namespace=weapon, uid=weapon, labels={"app": weapon}, egress="1"), "NodeNames": [weapon]},
        {"Pod": broken, "NodeNames": ["node-1"]},
        {"Pod": pod("p", annotations={EGRESS_ANNOTATION: weapon}), "NodeNames": ["node-1"]},
        {"Pod": pod("p"), "Nodes": {"items": [{"metadata": {"name": weapon}, "status": {"allocatable": weapon}}]}},
        {"Pod": weapon, "NodeNames": ["node-1"]},
        {weapon: weapon},
    ]


@pytest.mark.parametrize("weapon", WEAPONS.values(), ids=WEAPONS)
def test_what_a_client_names_is_never_a_line_of_its_own_nor_a_command_to_the_terminal(
    told: Target, weapon: str
) -> None:
    before = len(told.lines())
    bodies = [json.dumps(body).encode() for body in everywhere(weapon)]
    calls = [post(body, path=path) for body in bodies for path in (b"/filter", b"/prioritize")]
    calls += [
        post(b"{}", b"X-Weapon: " + weapon.encode(), path=b"/filter?" + weapon.encode()),
        weapon.encode() + b"\r\n\r\n",
    ]
    for call in calls:
        told.shoot(call)
    wait_until(lambda: len(told.lines()) >= before + 8)  # they are told of at all
    lines = told.lines()[before:]
    for line in lines:
        assert not CONTROLS & set(line), line
        assert len(line) < 5000
        if told.settings["log"]["format"] == "json":
            assert json.loads(line)["event"] in {
                "filter",
                "prioritize",
                "request refused",
                "suspect units",
                "pod cannot be right",
                "http server",
                "synced",
            }
        else:
            assert line[:4].isdigit()  # each begins with its time, so none was begun by somebody else


@pytest.mark.parametrize("as_json", [True, False])
def test_a_fault_that_quotes_a_name_begins_no_line_with_it(as_json: bool) -> None:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        log = make_logger(as_json=as_json, level="info")
        try:
            raise ValueError("\n".join(WEAPONS.values()))
        except ValueError:
            log.exception("fault")
    first, *others = output.getvalue().splitlines()
    assert "fault" in first
    assert not CONTROLS & set("".join([first, *others]))
    assert all(line.startswith("  ") for line in others)
    assert len(others) == 0 if as_json else len(others) > 5


def series(target: Target) -> set[str]:
    page = target.metrics_page().partition("\r\n\r\n")[2]
    found = text_string_to_metric_families(page)
    return {f"{one.name}{sorted(one.labels.items())}" for family in found for one in family.samples}


def test_random_paths_methods_types_and_nodes_make_no_new_series(target: Target) -> None:
    chance = random.Random(5)
    target.answers()
    before = series(target)
    for _ in range(100):
        word = f"{chance.randrange(1 << 60):x}"
        asked = {"Pod": pod(word, namespace=word, uid=word, labels={"app": word, word: word}, egress="1G"), "NodeNames": [word, "node-1"]}  # fmt: skip
        body = json.dumps(asked).encode()
        assert answered(target.shoot(post(body)))["FailedAndUnresolvableNodes"]
        target.shoot(post(body, path=b"/prioritize"))
        target.shoot(post(body, b"X-%b: %b" % (word.encode(), word.encode()), path=b"/" + word.encode()))
        target.shoot(b"%b /filter HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % (chance.choice([b"PUT", b"TRACE", b"SEARCH"]), word.encode()))  # fmt: skip
        target.shoot(post(b'{"%b":1}' % word.encode()))
        target.shoot(b"GET /%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % word.encode(), ops=True)
    assert series(target) == before


@pytest.mark.parametrize("query", [b"name[]=nothing", b"format=json", b"x=" + b"a" * 20_000])
def test_a_query_does_not_change_what_metrics_tell(target: Target, query: bytes) -> None:
    page = target.shoot(b"GET /metrics?%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % query, ops=True).decode()
    assert "kubesteer_ready 1.0" in page
