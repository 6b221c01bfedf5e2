"""When the sink is told that all pods were listed, and up to when the watch of pods was heard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.cluster_state.builders import node, pod
from tests.cluster_state.conftest import following
from tests.cluster_state.sink import RecordingSink
from tests.waiting import until

if TYPE_CHECKING:
    from tests.cluster_state.fake_api import FakeApi


def added(name: str, version: int) -> str:
    obj = pod(name)
    obj["metadata"]["resourceVersion"] = str(version)
    return json.dumps({"type": "ADDED", "object": obj})


async def test_a_list_is_told_when_all_its_pages_are_put_and_what_it_lacks_is_deleted(
    api: FakeApi, sink: RecordingSink
) -> None:
    for name in "abc":
        api.put(pod(name))
    async with following(api, sink, page=2):
        await until(lambda: api.of("pods"))
        assert sink.calls[-1] == ("pods_listed", "uid-a uid-b uid-c")
        first_s = sink.listed_at_s
        assert first_s is not None
        api.delete(pod("b"))
        api.compact()
        await until(lambda: "uid-b" not in sink.pods)
        api.cut()
        await until(lambda: sink.listed() == 2)
        assert sink.calls[-1] == ("pods_listed", "uid-a uid-c")
        assert (sink.listed_at_s or 0.0) > first_s


async def test_a_watch_that_says_nothing_is_not_heard_and_a_bookmark_is(api: FakeApi, sink: RecordingSink) -> None:
    async with following(api, sink):
        await until(lambda: api.of("pods") and api.of("nodes"))
        api.put(node("a"))
        await until(lambda: "a" in sink.nodes)
        assert sink.heard_at_s is None, "the open watch and news of nodes tell nothing of pods"
        api.bookmark()
        await until(lambda: sink.heard_at_s is not None)
        assert (sink.heard_at_s or 0.0) > (sink.listed_at_s or 0.0)


async def test_a_chunk_is_heard_only_when_its_last_line_has_been_applied(api: FakeApi) -> None:
    known_when_heard: list[int] = []

    class Sink(RecordingSink):
        def pods_heard(self, at_s: float) -> None:
            known_when_heard.append(len(self.pods))

    async with following(api, Sink()):
        await until(lambda: api.of("pods"))
        api.send("\n".join(added(f"p{i}", 200 + i) for i in range(150)), resource="pods")
        await until(lambda: known_when_heard)
    assert 100 not in known_when_heard, "100 lines are one slice; the chunk has 150"
    assert known_when_heard[-1] == 150


async def test_what_waits_for_the_end_of_its_line_is_not_heard(api: FakeApi, sink: RecordingSink) -> None:
    line = added("p", 201).encode()
    async with following(api, sink):
        await until(lambda: api.of("pods"))
        [watch] = api.of("pods")
        watch.send(added("before", 200).encode() + b"\n" + line[:50])
        await until(lambda: "uid-before" in sink.pods)
        assert sink.heard_at_s is None, "the first chunk ends in half a line, and none came before it"
        watch.send(line[50:] + b"\n")
        await until(lambda: "uid-p" in sink.pods and sink.heard_at_s is not None)
