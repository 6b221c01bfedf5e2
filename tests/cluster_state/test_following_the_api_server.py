"""List and watch against an API server that fails in every way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.cluster_state.builders import node, pod
from tests.cluster_state.conftest import following
from tests.cluster_state.fake_api import FakeApi, Refusal
from tests.cluster_state.sink import RecordingSink
from tests.waiting import WITHIN_S, pass_time, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubesteer.clients.kubernetes.source import KubernetesSource
    from kubesteer.model.cluster import PodSummary


class Turns:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.count = 0

    async def counted_until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                self.count += 1
                await asyncio.sleep(0)


async def bookmarked(api: FakeApi, source: KubernetesSource) -> None:
    """A bookmark, which both watches have heard."""
    before = [each.heard_at_s for each in (source._nodes, source._pods)]
    api.bookmark()
    await until(
        lambda: all(each.heard_at_s != at for each, at in zip((source._nodes, source._pods), before, strict=True))
    )


def both_watched(api: FakeApi) -> bool:
    return bool(api.of("nodes") and api.of("pods"))


async def test_what_happens_after_the_list_arrives_by_the_watch(api: FakeApi, sink: RecordingSink) -> None:
    api.put(node("a"))
    async with following(api, sink) as source:
        await until(lambda: both_watched(api))
        api.put(pod("p", on="a", cpu="250m"))
        api.put(node("b"))
        await until(lambda: "uid-p" in sink.pods and "b" in sink.nodes)
        api.delete(node("a"))
        await until(lambda: "a" not in sink.nodes)
        assert sink.pods["uid-p"].requests.cpu_m == 250
        status = source.status()
        assert (status.nodes, status.pods, status.events, status.relists) == (1, 1, 3, 0)
        assert status.last_error is None


async def test_a_watch_asks_for_bookmarks_from_the_version_of_the_list(api: FakeApi, sink: RecordingSink) -> None:
    api.put(pod("p"))
    async with following(api, sink, watch_s=300.0):
        await until(lambda: both_watched(api))
        [asked] = api.asked("watch")
    assert (asked["resourceVersion"], asked["allowWatchBookmarks"]) == ("101", "true")
    assert 300 <= int(asked["timeoutSeconds"]) <= 600
    assert {headers["Accept-Encoding"] for headers in api.headers} == {"identity"}


async def test_five_thousand_pods_arrive_in_ten_pages_and_the_event_loop_turns_after_each_hundred(
    api: FakeApi,
) -> None:
    for i in range(5000):
        api.put(pod(f"p{i}", on="a"))
    turns = Turns()
    puts_by_turn: Counter[int] = Counter()

    class Sink(RecordingSink):
        def put_pod(self, summary: PodSummary) -> None:
            super().put_pod(summary)
            puts_by_turn[turns.count] += 1

    sink = Sink()
    async with following(api, sink, page=500) as source:
        await turns.counted_until(lambda: source.status().pods_synced)
        assert source.status().pods == len(sink.pods) == 5000
    assert (len(api.asked("list")), len(api.asked("page"))) == (1, 9)
    assert max(puts_by_turn.values()) == 100


async def test_pods_that_went_away_together_are_deleted_a_hundred_at_a_time(api: FakeApi) -> None:
    for i in range(350):
        api.put(pod(f"p{i}"))
    turns = Turns()
    deletes_by_turn: Counter[int] = Counter()

    class Sink(RecordingSink):
        def delete_pod(self, uid: str) -> None:
            super().delete_pod(uid)
            deletes_by_turn[turns.count] += 1

    sink = Sink()
    async with following(api, sink):
        await until(lambda: both_watched(api))
        api.objects["pods"].clear()
        api.compact()
        api.cut()
        await turns.counted_until(lambda: not sink.pods)
    assert sorted(deletes_by_turn.values()) == [50, 100, 100, 100]


async def test_the_next_page_is_asked_for_while_this_one_is_still_being_read(api: FakeApi) -> None:
    for i in range(1000):
        api.put(pod(f"p{i}"))
    read_when_asked: list[int] = []

    class Sink(RecordingSink):
        def put_pod(self, summary: PodSummary) -> None:
            super().put_pod(summary)
            if api.asked("page") and not read_when_asked:
                read_when_asked.append(len(self.pods))

    sink = Sink()
    async with following(api, sink, page=500) as source:
        await until(lambda: source.status().pods_synced)
    assert read_when_asked[0] < 500


async def test_a_continue_token_that_expires_in_the_middle_begins_the_list_anew(
    api: FakeApi, sink: RecordingSink
) -> None:
    for i in range(30):
        api.put(pod(f"p{i}"))
    api.refusals["page"].extend([Refusal(410)])
    async with following(api, sink, page=10) as source:
        await until(lambda: source.status().pods_synced)
        assert len(sink.pods) == source.status().pods == 30
    assert len(api.asked("list")) == 2


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_page_that_is_refused_is_asked_for_again_and_the_list_goes_on(
    api: FakeApi, sink: RecordingSink, status: int
) -> None:
    for i in range(30):
        api.put(pod(f"p{i}"))
    api.refusals["page"].append(Refusal(status))
    async with following(api, sink, page=10) as source:
        await until(lambda: source.status().pods_synced)
    assert len(sink.pods) == 30
    assert (len(api.asked("list")), len(api.asked("page"))) == (1, 3), "3 pages: one list, two further, one twice"


async def test_a_further_page_that_never_comes_begins_the_list_anew(api: FakeApi, sink: RecordingSink) -> None:
    for i in range(20):
        api.put(pod(f"p{i}"))
    api.refusals["page"].extend([Refusal(500)] * 3)
    async with following(api, sink, page=10) as source:
        await until(lambda: source.status().pods_synced)
    assert (len(api.asked("list")), len(api.asked("page"))) == (2, 4)


async def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(api: FakeApi, sink: RecordingSink) -> None:
    api.refusals["list"].extend([Refusal(429, {"Retry-After": "7"})] * 2)
    waits: list[float] = []
    async with following(api, sink, waits=waits) as source:
        await until(lambda: source.status().nodes_synced and source.status().pods_synced)
    assert waits == [7.0, 7.0]


async def test_waits_double_up_to_their_limit_and_keep_apart(api: FakeApi, sink: RecordingSink) -> None:
    """0.2, 0.4, 0.8, 1.6, 3.2, 5, 5 s, each shortened by up to a half."""
    api.refusals["list"].extend([Refusal(500)] * 1000)
    waits: list[float] = []
    async with following(api, sink, waits=waits, first_wait_s=0.2, longest_wait_s=5.0) as source:
        await until(lambda: len(api.asked("list")) + len(api.asked("list", "nodes")) >= 16)
        assert "500: refused by the test" in (source.status().last_error or ""), "of 1,000 refusals some are left"
    longest = max(waits)
    assert 2.5 <= longest <= 5.0
    assert 0.1 <= min(waits) <= 0.2
    assert len(set(waits)) == len(waits)


async def test_a_dropped_connection_is_resumed_from_the_last_version_seen(api: FakeApi, sink: RecordingSink) -> None:
    api.put(pod("before"))
    async with following(api, sink) as source:
        await until(lambda: both_watched(api))
        api.put(pod("seen"))
        await until(lambda: "uid-seen" in sink.pods)
        api.cut(half_a_line='{"type":"ADDED","object":{"metadata":{"name":"half')
        api.put(pod("missed"))
        api.delete(pod("before"))
        await until(lambda: sink.pod_names() == {"seen", "missed"})
        assert source.status().relists == 0
    assert [asked["resourceVersion"] for asked in api.asked("watch")] == ["101", "102"]


async def test_a_bookmark_moves_the_version_that_a_watch_resumes_from(api: FakeApi, sink: RecordingSink) -> None:
    async with following(api, sink) as source:
        await until(lambda: both_watched(api))
        for i in range(7):
            api.put(node(f"n{i}"))
        await until(lambda: len(sink.nodes) == 7)
        await bookmarked(api, source)
        api.cut()
        await until(lambda: len(api.asked("watch")) == 2)
        assert source.status().events == 7, "bookmarks are no events"
    assert [asked["resourceVersion"] for asked in api.asked("watch")] == ["100", "107"]


@pytest.mark.parametrize("as_event", [True, False], ids=["as an event", "as an answer"])
async def test_a_version_that_is_gone_leads_to_a_new_list_that_loses_no_delete(
    api: FakeApi, sink: RecordingSink, as_event: bool
) -> None:
    api.error_events_for_gone = as_event
    for name in ("stays", "goes"):
        api.put(pod(name))
        api.put(node(name))
    async with following(api, sink) as source:
        await until(lambda: both_watched(api))
        api.freeze()
        api.delete(pod("goes"))
        api.delete(node("goes"))
        api.put(pod("new"))
        api.compact()
        api.cut()
        await until(lambda: sink.pod_names() == {"stays", "new"} and set(sink.nodes) == {"stays"})
        await until(lambda: both_watched(api))
        status = source.status()
        assert (status.relists, status.nodes, status.pods, status.last_error) == (2, 1, 2, None)


async def test_a_server_that_went_back_in_time_is_listed_anew(api: FakeApi, sink: RecordingSink) -> None:
    api.version = 5000
    api.put(pod("of-the-backup"))
    async with following(api, sink) as source:
        await until(lambda: both_watched(api))
        api.put(pod("lost"))
        await until(lambda: "uid-lost" in sink.pods)
        del api.objects["pods"]["default/lost"]
        api.restore(200)
        api.cut()
        await until(lambda: sink.pod_names() == {"of-the-backup"})
        assert source.status().pods == 1


async def test_a_silent_link_is_noticed_and_replaced(api: FakeApi, sink: RecordingSink) -> None:
    async with following(api, sink, silence_s=0.2) as source:
        await until(lambda: both_watched(api))
        api.freeze()
        api.put(pod("unheard"))
        await until(lambda: "uid-unheard" in sink.pods)
        assert source.status().relists == 0


async def test_bookmarks_keep_a_quiet_link_alive(api: FakeApi, sink: RecordingSink) -> None:
    """Twice the silence that ends a link, on one link; a machine that holds a bookmark up for so long tries again."""

    async def was_kept() -> bool:
        before = len(api.asked("watch"))
        for _ in range(6):
            await pass_time(0.1)
            api.bookmark()
        return len(api.asked("watch")) == before

    async with following(api, sink, silence_s=0.3):
        await until(lambda: both_watched(api))
        await until(was_kept)


async def test_a_server_that_dies_and_returns_is_followed_again(api: FakeApi, sink: RecordingSink) -> None:
    api.put(pod("stays"))
    api.put(pod("goes"))
    async with following(api, sink, longest_wait_s=1.0) as source:
        await until(lambda: both_watched(api))
        await api.stop()
        await until(lambda: "did not answer" in (source.status().last_error or ""))
        assert source.status().pods_synced, "what was known stays known"
        api.delete(pod("goes"))
        api.put(pod("new"))
        await api.start()
        await until(lambda: sink.pod_names() == {"stays", "new"})
        await until(lambda: source.status().last_error is None)


async def test_the_age_of_the_last_contact_grows_while_the_server_is_away(api: FakeApi, sink: RecordingSink) -> None:
    async with following(api, sink, longest_wait_s=1.0) as source:
        assert source.status().last_contact_age_s is None
        await until(lambda: both_watched(api))
        await api.stop()
        await until(lambda: (source.status().last_contact_age_s or 0) >= 0.15)
        await api.start()
        await until(lambda: both_watched(api))
        await until(lambda: api.bookmark() or (source.status().last_contact_age_s or 9) < 0.1)


async def test_a_pod_that_ends_is_deleted_and_one_that_had_ended_never_arrives(
    api: FakeApi, sink: RecordingSink
) -> None:
    api.put(pod("old", phase="Failed"))
    api.put(pod("runs"))
    async with following(api, sink):
        await until(lambda: both_watched(api))
        assert sink.pod_names() == {"runs"}
        api.put(pod("runs", phase="Succeeded"))
        await until(lambda: not sink.pods)
    assert ("put_pod", "uid-old") not in sink.calls


async def test_a_pod_of_the_same_name_is_another_pod(api: FakeApi, sink: RecordingSink) -> None:
    api.put(pod("p", uid="first"))
    async with following(api, sink):
        await until(lambda: both_watched(api))
        api.delete(pod("p", uid="first"))
        api.put(pod("p", uid="second"))
        await until(lambda: set(sink.pods) == {"second"})


async def test_a_pod_that_cannot_be_counted_is_named_and_its_last_good_state_stays(
    api: FakeApi, sink: RecordingSink
) -> None:
    api.put(pod("good", cpu="1"))
    api.put(pod("bad", cpu="many"))
    async with following(api, sink) as source:
        await until(lambda: both_watched(api))
        status = source.status()
        assert (status.pods, status.skipped) == (1, 1)
        assert "default/bad: spec.containers[main].resources.requests[cpu]: 'many'" in (status.last_error or "")
        api.put(pod("good", cpu="-1"))
        await until(lambda: source.status().skipped == 2)
        api.compact()
        api.cut()
        await until(lambda: source.status().relists == 2)
        assert sink.pods["uid-good"].requests.cpu_m == 1000, "a new list keeps it too"
        api.put(pod("good", cpu="2"))
        api.delete(pod("bad"))
        await until(lambda: source.status().skipped == 0)
        assert sink.pods["uid-good"].requests.cpu_m == 2000
        assert source.status().last_error is None


async def test_an_object_of_a_wrong_shape_does_not_hide_the_others_of_its_page(
    api: FakeApi, sink: RecordingSink
) -> None:
    odd = json.dumps({"metadata": {"name": "odd", "namespace": "x", "uid": "u"}, "spec": {"containers": "none"}})
    api.raw_items["pods"] = [odd]
    api.put(pod("good"))
    async with following(api, sink) as source:
        await until(lambda: source.status().pods_synced)
        assert sink.pod_names() == {"good"}
        assert source.status().skipped == 1
        assert "Pod x/odd" in (source.status().last_error or "")


async def test_an_event_of_a_wrong_shape_is_skipped_and_the_watch_goes_on(api: FakeApi, sink: RecordingSink) -> None:
    meta = {"name": "odd", "uid": "u", "resourceVersion": "150"}
    async with following(api, sink) as source:
        await until(lambda: both_watched(api))
        api.send(json.dumps({"type": "ADDED", "object": {"metadata": meta, "spec": 5}}), resource="pods")
        api.put(pod("good"))
        await until(lambda: "uid-good" in sink.pods)
        assert source.status().skipped == 1
    assert len(api.asked("watch")) == len(api.asked("list")) == 1


UNREADABLE = [
    '{"type":"ADDED","object":',
    '{"type":"ADDED","object":{}}',
    '{"type":"NEW"}',
    '{"type":"NEW","object":{"metadata":{"name":"x","resourceVersion":"150"}}}',
]


@pytest.mark.parametrize("line", UNREADABLE)
async def test_a_line_that_nobody_can_read_leads_to_a_new_list(api: FakeApi, sink: RecordingSink, line: str) -> None:
    async with following(api, sink) as source:
        await until(lambda: both_watched(api))
        api.send(line, resource="pods")
        await until(lambda: source.status().relists == 1)
        api.put(pod("p"))
        await until(lambda: "uid-p" in sink.pods)


async def test_a_line_that_comes_in_pieces_is_one_event(api: FakeApi, sink: RecordingSink) -> None:
    async with following(api, sink):
        await until(lambda: both_watched(api))
        line = json.dumps({"type": "ADDED", "object": {**pod("long"), "filler": "x" * 600_000}})
        line = line.replace('"uid": "uid-long"', '"uid": "uid-long", "resourceVersion": "101"')
        [watch] = api.of("pods")
        for start in range(0, len(line), 50_000):
            watch.send(line[start : start + 50_000].encode())
            await asyncio.sleep(0)
        watch.send(b"\n")
        await until(lambda: "uid-long" in sink.pods)


async def test_a_missing_permission_is_told_in_the_servers_words(api: FakeApi, sink: RecordingSink) -> None:
    api.refusals["list"].extend([Refusal(403, message='User "x" cannot list resource "nodes"')] * 4)
    async with following(api, sink, longest_wait_s=2.0) as source:
        await until(lambda: source.status().last_error)
        assert '403: User "x" cannot list resource' in (source.status().last_error or "")
        await until(lambda: source.status().nodes_synced and source.status().pods_synced)


@pytest.mark.parametrize("body", ["{}", '{"kind":"Status"}', "<html>busy</html>", '{"items":[]'])
async def test_an_answer_that_is_no_list_deletes_nothing(api: FakeApi, sink: RecordingSink, body: str) -> None:
    api.put(pod("p"))
    waits: list[float] = []
    async with following(api, sink, waits=waits) as source:
        await until(lambda: both_watched(api))
        api.refusals["list"].extend([Refusal(200, body=body)] * 6)
        api.compact()
        api.cut()
        await until(lambda: "the answer is no list" in (source.status().last_error or ""))
        await until(lambda: source.status().relists == 2)
    assert ("delete_pod", "uid-p") not in sink.calls


async def test_a_proxy_that_answers_the_watch_with_an_error_page_is_told(api: FakeApi, sink: RecordingSink) -> None:
    api.refusals["watch"].extend([Refusal(502, body="<html>bad gateway</html>")] * 6)
    async with following(api, sink) as source:
        await until(lambda: "502: Bad Gateway" in (source.status().last_error or ""))
        await until(lambda: both_watched(api))
        assert source.status().relists == 0


async def test_a_delete_that_cannot_be_read_leads_to_a_new_list(api: FakeApi, sink: RecordingSink) -> None:
    api.put(pod("goes"))
    async with following(api, sink) as source:
        await until(lambda: both_watched(api))
        del api.objects["pods"]["default/goes"]
        odd = {"name": "goes", "uid": "uid-goes", "labels": "none", "resourceVersion": "150"}
        api.send(json.dumps({"type": "DELETED", "object": {"metadata": odd}}), resource="pods")
        await until(lambda: not sink.pods and source.status().relists == 1)


async def test_a_pod_that_could_not_be_counted_is_forgotten_when_a_list_lacks_it(
    api: FakeApi, sink: RecordingSink
) -> None:
    api.put(pod("bad", cpu="many"))
    async with following(api, sink) as source:
        await until(lambda: both_watched(api) and source.status().skipped == 1)
        api.freeze()
        api.delete(pod("bad", cpu="many"))
        api.compact()
        api.cut()
        await until(lambda: source.status().relists == 2)
        assert source.status().skipped == 0


async def test_a_line_of_the_watch_makes_the_waits_short_again(api: FakeApi, sink: RecordingSink) -> None:
    """Five refusals each: 0.2, 0.4, 0.8, 1.6, 3.2 s, shortened by up to a half."""
    api.refusals["watch"].extend([Refusal(500)] * 10)
    waits: list[float] = []
    async with following(api, sink, waits=waits) as source:
        await until(lambda: both_watched(api))
        assert max(waits) >= 1.6
        await bookmarked(api, source)
        waits.clear()
        api.cut()
        await until(lambda: len(waits) == 2)
        assert max(waits) <= 0.2


async def test_a_watch_that_held_makes_the_waits_short_again(api: FakeApi, sink: RecordingSink) -> None:
    api.refusals["watch"].extend([Refusal(500)] * 20)
    waits: list[float] = []
    now_s = 0.0
    async with following(api, sink, waits=waits, clock=lambda: now_s, first_wait_s=0.001, longest_wait_s=0.1):
        await until(lambda: both_watched(api))
        assert max(waits) >= 0.05
        now_s = 0.15
        waits.clear()
        api.cut()
        await until(lambda: len(waits) == 2)
        assert max(waits) <= 0.001


async def test_after_an_outage_a_version_that_is_gone_costs_no_long_wait(api: FakeApi, sink: RecordingSink) -> None:
    waits: list[float] = []
    async with following(api, sink, waits=waits) as source:
        await until(lambda: both_watched(api))
        await bookmarked(api, source)
        await api.stop()
        await until(lambda: max(waits, default=0.0) > 2.5)
        api.compact()
        await api.start()
        await until(lambda: source.status().relists == 2 and both_watched(api))
        assert min(waits[-3:]) <= 0.2


async def test_lists_that_lead_to_no_watch_follow_one_another_ever_more_slowly(
    api: FakeApi, sink: RecordingSink
) -> None:
    api.refusals["watch"].extend([Refusal(410)] * 10)
    waits: list[float] = []
    async with following(api, sink, waits=waits):
        await until(lambda: both_watched(api))
    assert max(waits) >= 0.8
