"""What a node publishes of its link, and what is told of it, over time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.network import DEFAULT_NETWORK
from monitor_agent.capacity import (
    CapacityRules,
    DirectionRule,
    Mark,
    PlanState,
    PodDemand,
    Publication,
    PublishedCapacity,
    plan,
    promises,
    why_told,
)
from monitor_agent.probes.links import LinkReading
from tests.builders import DEPCON2_SLO, EGRESS_ANNOTATION, EGRESS_BPS, INGRESS_BPS, container, pod, pod_object

G = 1_000_000_000
UP = LinkReading("eth0", ("eth0",), 10 * G, True, "eth0 reports 10000 Mb/s")
DOWN = LinkReading("eth0", ("eth0",), None, False, "eth0 reports no speed")
UNKNOWN = LinkReading("eth0", ("eth0",), None, True, "eth0 reports no speed")
NO_ROUTE = LinkReading("", (), None, False, "no default route")
EGRESS_ONLY = CapacityRules((DirectionRule("egress", (EGRESS_BPS,)),))


class Node:
    """A node object that takes every number it is told, and the agent's memory."""

    def __init__(self, rules: CapacityRules = EGRESS_ONLY, *, egress: int | None = None) -> None:
        self.rules, self.memory, self.now_s = rules, PlanState(), 0.0
        self.capacity = {} if egress is None else {EGRESS_BPS: egress}
        self.events: list[str] = []

    def see(self, link: LinkReading, *, promised: int = 0, by_annotation: int = 0, after_s: float = 0.0) -> Publication:
        self.now_s += after_s
        told, self.memory = plan(
            link,
            self.rules,
            PublishedCapacity(self.capacity, dict(self.capacity)),
            PodDemand({EGRESS_BPS: promised}, {"egress": promised + by_annotation}),
            self.memory,
            now_s=self.now_s,
        )
        self.capacity |= told.numbers
        self.events += [event.reason for event in told.events]
        return told

    @property
    def egress(self) -> int | None:
        return self.capacity.get(EGRESS_BPS)


def test_the_link_less_the_reserve_is_published_once() -> None:
    node = Node()
    # 10G x (1 - 0.05)
    assert node.see(UP).numbers == {EGRESS_BPS: 9_500_000_000}
    again = node.see(UP)
    assert (again.numbers, again.events, again.limit_bps) == ({}, (), {"egress": 9_500_000_000})


def test_numbers_are_exact_and_rounded_down() -> None:
    # 3,333,333,333 x (1 - 0.1) x 1.3 = 3,899,999,999.61, rounded down
    rules = CapacityRules(
        (DirectionRule("egress", (EGRESS_BPS,), overcommit=1.3, fixed_bps=3_333_333_333),), reserve=0.1
    )
    told = Node(rules).see(UNKNOWN)
    assert told.numbers == {EGRESS_BPS: 3_899_999_999}
    assert told.limit_bps == {"egress": 2_999_999_999}, "what the link carries knows no overcommit"


def test_each_direction_has_its_names_factor_and_speed() -> None:
    rules = CapacityRules(
        (
            DirectionRule("egress", (EGRESS_BPS, DEPCON2_SLO), overcommit=2.0),
            DirectionRule("ingress", (INGRESS_BPS,), fixed_bps=1 * G),
        ),
        reserve=0.0,
    )
    told, _ = plan(UP, rules, PublishedCapacity({}, {}), PodDemand(), PlanState(), now_s=0)
    assert told.numbers == {EGRESS_BPS: 20 * G, DEPCON2_SLO: 20 * G, INGRESS_BPS: 1 * G}
    assert told.limit_bps == {"egress": 10 * G, "ingress": 1 * G}


@pytest.mark.parametrize("kubelets", [0, 7 * G], ids=["set to 0 for a recreated node", "set by somebody"])
def test_a_number_that_somebody_else_set_is_set_right(kubelets: int) -> None:
    node = Node()
    node.see(UP)
    node.capacity[EGRESS_BPS] = kubelets
    assert node.see(UP).numbers == {EGRESS_BPS: 9_500_000_000}
    node.capacity.clear()
    assert node.see(UP).numbers == {EGRESS_BPS: 9_500_000_000}, "a node that was created anew has none"


def test_allocatable_that_lags_behind_is_written_again() -> None:
    told, _ = plan(
        UP, EGRESS_ONLY, PublishedCapacity({EGRESS_BPS: 9_500_000_000}, {}), PodDemand(), PlanState(), now_s=0
    )
    assert told.numbers == {EGRESS_BPS: 9_500_000_000}


def test_a_lost_link_leaves_what_is_promised_and_follows_down_as_pods_leave() -> None:
    node = Node()
    node.see(UP, promised=3 * G)
    node.see(DOWN, promised=3 * G, after_s=1)
    assert node.see(DOWN, promised=3 * G, after_s=5).numbers == {EGRESS_BPS: 3 * G}
    assert [node.see(DOWN, promised=left * G).numbers for left in (2, 2, 0)] == [
        {EGRESS_BPS: 2 * G},
        {},
        {EGRESS_BPS: 0},
    ]
    assert node.events == ["NetworkLinkLost"]


def test_a_pod_that_came_while_the_number_fell_raises_it_again() -> None:
    node = Node()
    node.see(UP)
    node.see(DOWN, after_s=1)
    node.see(DOWN, after_s=5)
    assert node.egress == 0
    assert node.see(DOWN, promised=1 * G).numbers == {EGRESS_BPS: 1 * G}


def test_the_limit_falls_at_once_and_the_object_after_it_lasted() -> None:
    node = Node()
    node.see(UP)
    first = node.see(DOWN, after_s=1)
    assert (first.limit_bps, first.numbers, first.events) == ({"egress": 0}, {}, ())
    assert node.see(DOWN, after_s=4.9).numbers == {}
    assert node.see(DOWN, after_s=0.1).numbers == {EGRESS_BPS: 0}


def test_a_link_that_is_back_counts_after_it_stayed() -> None:
    node = Node()
    for link, after_s in ((UP, 0), (DOWN, 1), (DOWN, 5), (UP, 1)):
        node.see(link, after_s=after_s)
    waiting = node.see(UP, after_s=59)
    assert (waiting.limit_bps, waiting.numbers) == ({"egress": 0}, {})
    back = node.see(UP, after_s=1)
    assert (back.limit_bps, back.numbers) == ({"egress": 9_500_000_000}, {EGRESS_BPS: 9_500_000_000})
    assert node.events == ["NetworkLinkLost", "NetworkLinkBack"]


def test_a_link_that_flaps_every_ten_seconds_for_an_hour_is_told_once() -> None:
    node = Node()
    for second in range(0, 3600, 2):
        node.see(DOWN if second // 10 % 2 else UP, promised=1 * G, after_s=2)
    assert node.events == ["NetworkLinkLost"]
    assert node.egress == 1 * G


def test_a_link_that_flaps_too_fast_to_be_told_is_still_seen() -> None:
    node = Node()
    limits = [node.see(link, after_s=2).limit_bps["egress"] for link in (UP, DOWN, UP, DOWN, UP)]
    assert (node.events, limits) == ([], [9_500_000_000, 0, 9_500_000_000, 0, 9_500_000_000])


@pytest.mark.parametrize(
    ("speed_bps", "waits_s", "kind"), [(1 * G, 5, "Warning"), (25 * G, 60, "Normal")], ids=["slower", "faster"]
)
def test_a_speed_that_changed_is_published_and_told(speed_bps: int, waits_s: float, kind: str) -> None:
    node, changed = Node(), replace(UP, speed_bps=speed_bps)
    node.see(UP)
    node.see(changed, after_s=1)
    assert node.see(changed, after_s=waits_s - 0.1).numbers == {}
    told = node.see(changed, after_s=0.1)
    assert told.numbers == {EGRESS_BPS: speed_bps * 95 // 100}
    assert [(event.kind, event.reason) for event in told.events] == [(kind, "NetworkSpeedChanged")]


def test_both_directions_of_one_change_are_one_event() -> None:
    told: Publication | None = None
    memory = PlanState()
    for link, now_s in ((UP, 0), (replace(UP, speed_bps=1 * G), 1), (replace(UP, speed_bps=1 * G), 6)):
        told, memory = plan(link, CapacityRules(), PublishedCapacity({}, {}), PodDemand(), memory, now_s=now_s)
    assert told is not None
    assert [event.message for event in told.events] == [
        "egress and ingress: eth0 went from 10G to 1G (eth0 reports 10000 Mb/s)"
    ]


def test_a_slower_link_keeps_what_is_promised_and_says_that_it_is_too_much() -> None:
    node, slow = Node(replace(EGRESS_ONLY, mark=Mark.BOTH)), replace(UP, speed_bps=1 * G)
    assert node.see(UP, promised=3 * G).degraded == ""
    for after_s in (1, 5, 5):
        told = node.see(slow, promised=3 * G, after_s=after_s)
    assert node.egress == 3 * G
    assert told.limit_bps == {"egress": 950_000_000}
    assert (told.degraded, told.taint) == ("egress: more is promised than the link carries", True)
    assert told.condition is not None
    assert (told.condition.status, told.condition.reason) == ("True", "PromisesExceedLink")
    assert [e.message for e in told.events] == [
        "egress: 3G promised, 950M to give; the published number stays above what is promised: move pods away"
    ]
    for after_s in (1, 60):
        told = node.see(slow, promised=900_000_000, after_s=after_s)
    assert (node.egress, told.taint, node.events[-1]) == (950_000_000, False, "NetworkPromisesFit")


def test_what_the_extender_allows_by_annotation_is_not_too_much() -> None:
    rule = DirectionRule("egress", (EGRESS_BPS,), annotation_overcommit=2.0)
    allowed, refused = Node(CapacityRules((rule,))), Node()
    for after_s in (0, 5, 5):
        for node in (allowed, refused):
            node.see(UP, by_annotation=15 * G, after_s=after_s)
    # 9.5G x 2 carries 15G on paper; 9.5G does not
    assert (allowed.events, refused.events) == ([], ["NetworkPromisesExceedLink"])
    assert refused.egress == 9_500_000_000, "the kubelet does not check what an annotation asks for"


@pytest.mark.parametrize(
    ("mark", "condition", "taint"),
    [
        (Mark.NONE, None, False),
        (Mark.CONDITION, "LinkLost", False),
        (Mark.TAINT, None, True),
        (Mark.BOTH, "LinkLost", True),
    ],
)
def test_a_lost_link_is_marked_as_the_settings_say(mark: Mark, condition: str | None, taint: bool) -> None:
    node = Node(replace(EGRESS_ONLY, mark=mark))
    told = [node.see(link, after_s=after_s) for link, after_s in ((UP, 0), (DOWN, 1), (DOWN, 5))]
    assert (told[0].taint, told[1].taint) == (False, False)
    assert (told[2].condition.reason if told[2].condition else None, told[2].taint) == (condition, taint)


def test_an_unknown_speed_publishes_nothing_leaves_a_set_number_and_is_told_once() -> None:
    fresh, set_by_hand = Node(), Node(egress=4 * G)
    for node in (fresh, set_by_hand):
        told = [node.see(UNKNOWN, after_s=60) for _ in range(3)]
        assert (told[2].numbers, told[2].limit_bps, node.events) == ({}, {}, ["NetworkSpeedUnknown"])
    assert (fresh.egress, set_by_hand.egress) == (None, 4 * G)


def test_a_number_set_by_hand_outlives_a_lost_link() -> None:
    node = Node(egress=4 * G)
    for link in (UNKNOWN, DOWN, DOWN, UNKNOWN, UNKNOWN):
        node.see(link, after_s=61)
    assert (node.egress, node.events) == (4 * G, ["NetworkSpeedUnknown", "NetworkLinkLost", "NetworkLinkBack"])


def test_a_speed_known_before_is_published_on_a_node_made_anew() -> None:
    node = Node()
    node.see(UP)
    node.capacity[EGRESS_BPS] = 0
    assert node.see(UNKNOWN, after_s=60).numbers == {EGRESS_BPS: 9_500_000_000}


def test_an_unknown_speed_still_keeps_running_pods_from_being_failed() -> None:
    node = Node(egress=0)
    assert node.see(UNKNOWN, promised=2 * G).numbers == {EGRESS_BPS: 2 * G}


def test_a_fixed_speed_counts_without_a_default_route_and_falls_with_a_lost_link() -> None:
    rules = CapacityRules((DirectionRule("egress", (EGRESS_BPS,), fixed_bps=1 * G),), reserve=0)
    node = Node(rules)
    told = node.see(NO_ROUTE)
    assert (told.numbers, told.limit_bps, told.events) == ({EGRESS_BPS: 1 * G}, {"egress": 1 * G}, ())
    assert node.see(DOWN).limit_bps == {"egress": 0}


def test_a_node_without_a_default_route_is_unknown_not_lost() -> None:
    node = Node()
    node.see(NO_ROUTE)
    assert node.events == ["NetworkSpeedUnknown"]


def test_a_missed_speed_says_where_to_write_it_and_one_that_is_written_is_not_asked_for() -> None:
    fixed = CapacityRules((DirectionRule("egress", (EGRESS_BPS,), fixed_bps=1 * G),))
    assert why_told(UNKNOWN, EGRESS_ONLY) == "eth0 reports no speed; write its speed_bps in network.directions"
    assert why_told(UNKNOWN, fixed) == "eth0 reports no speed"
    assert why_told(NO_ROUTE, EGRESS_ONLY) == "no default route"


LINKS = st.sampled_from([UP, DOWN, UNKNOWN, NO_ROUTE, *(replace(UP, speed_bps=n * G) for n in (1, 25, 100))])


@given(
    steps=st.lists(st.tuples(LINKS, st.integers(0, 40), st.floats(0, 100)), min_size=1, max_size=40),
    overcommit=st.floats(0.1, 10),
    reserve=st.floats(0, 0.9),
)
def test_whatever_happens_the_published_number_covers_what_is_promised(
    steps: list[tuple[LinkReading, int, float]], overcommit: float, reserve: float
) -> None:
    node = Node(CapacityRules((DirectionRule("egress", (EGRESS_BPS,), overcommit=overcommit),), reserve=reserve))
    for link, promised, after_s in steps:
        told = node.see(link, promised=promised * G, after_s=after_s)
        assert node.egress is None or node.egress >= promised * G
        assert node.see(link, promised=promised * G).numbers == {}, "what was written is what was wanted"
        if link.interface and not link.up:
            assert told.limit_bps == {"egress": 0}


@given(st.lists(st.tuples(LINKS, st.floats(0, 3)), max_size=200))
def test_events_about_the_link_are_never_more_than_time_allows(steps: list[tuple[LinkReading, float]]) -> None:
    node = Node()
    for link, after_s in steps:
        node.see(link, after_s=after_s)
    # one unknown, the first loss, and then a loss and a return, or two speeds, in each 65 s
    assert sum(reason != "NetworkSpeedChanged" for reason in node.events) <= 2 + 2 * (1 + node.now_s / 60)


def _asking(name: str, **more: Any) -> Any:
    return pod_object(pod(name, node="n", **more))


def test_promises_are_counted_as_the_kubelet_counts_them() -> None:
    pods = [
        _asking("a", egress="1G", init=[container("init", egress="3G")]),  # max(1, 3)
        _asking("b", **{DEPCON2_SLO: "2G"}, ingress="100M"),
        _asking("c", annotations={EGRESS_ANNOTATION: "4G"}),
        _asking("done", egress="5G", status={"phase": "Succeeded"}),
    ]
    found = promises(pods, DEFAULT_NETWORK)
    assert found.by_resource == {EGRESS_BPS: 3 * G, DEPCON2_SLO: 2 * G, INGRESS_BPS: 100_000_000}
    assert found.by_direction == {"egress": 9 * G, "ingress": 100_000_000}  # 3 + 2 + 4


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: CapacityRules(reserve=1.0), "reserve 1.0"),
        (lambda: CapacityRules(worse_after_s=-1), "worse_after_s -1"),
        (lambda: DirectionRule("egress", (), overcommit=0), "egress.overcommit 0"),
        (lambda: DirectionRule("egress", (), annotation_overcommit=-1), "egress.annotation_overcommit -1"),
        (lambda: DirectionRule("ingress", (), fixed_bps=0), "ingress.fixed_bps 0"),
    ],
)
def test_rules_that_cannot_be_are_refused_by_name(make: Any, field: str) -> None:
    with pytest.raises(InvalidSettings, match=field):
        make()
