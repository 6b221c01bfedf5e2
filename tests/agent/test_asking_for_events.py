"""When the Events of a pod are asked for, and what becomes of an answer that comes late."""

from __future__ import annotations

import io

import pytest

from kubesteer.model.network import DEFAULT_NETWORK
from kubesteer.model.runs import EventSeen, PodRuns
from monitor_agent.logs import make_log
from monitor_agent.metrics import Metrics
from monitor_agent.pods import PodBook
from monitor_agent.troubles import Troubles
from tests.agent.builders import NOW_S

EVERY_S = 30.0
STUCK = PodRuns("uid-1", "shop", "web-1", "web", phase="Pending")


class Asking:
    """Troubles of one pod, over a source that notes when it was asked. meanwhile: happens before it answers."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.stuck = True
        self.asked_s: list[float] = []
        self.told: list[PodRuns] = []
        self.meanwhile = lambda: None
        self.book = PodBook(DEFAULT_NETWORK, on_change=lambda _: None, on_gone=lambda _: None)
        self.book.runs[STUCK.uid] = STUCK
        self.troubles = Troubles(
            self.book,
            lambda _pod, _now_s: self.stuck,
            self,
            self.told.append,
            every_s=EVERY_S,
            at_once=10,
            clock=lambda: self.now_s,
            unix_clock=lambda: NOW_S,
            log=make_log("error", io.StringIO()),
            metrics=Metrics(),
        )

    async def of(self, _pod: PodRuns) -> list[EventSeen]:
        self.asked_s.append(self.now_s)
        self.meanwhile()
        return [EventSeen("FailedMount", f"attempt {len(self.asked_s)}", NOW_S)]

    async def look(self, for_s: float, every_s: float = 5.0) -> list[float]:
        """A round every few seconds; when, from the beginning of the look, questions were asked."""
        start_s, self.asked_s = self.now_s, []
        while self.now_s < start_s + for_s:
            await self.troubles.step()
            self.now_s += every_s
        return [asked_s - start_s for asked_s in self.asked_s]


async def test_a_pod_that_stays_stuck_is_asked_about_ever_more_seldom() -> None:
    """Waits of 30, 60, 120, 240, 480 and then always 960 s."""
    asked_s = await Asking().look(for_s=3600)
    assert asked_s == [0, 30, 90, 210, 450, 930, 1890, 2850]


async def test_a_pod_that_did_well_between_is_asked_about_soon_when_it_is_stuck_again() -> None:
    asking = Asking()
    await asking.look(for_s=200)
    asking.stuck = False
    await asking.look(for_s=300)
    asking.stuck = True
    assert await asking.look(for_s=100) == [0, 30, 90]


@pytest.mark.parametrize("gone", [True, False])
async def test_news_are_about_the_pod_as_it_is_when_they_come(gone: bool) -> None:
    """A pod that has gone meanwhile is not judged again: which of its runs were counted is forgotten with it."""
    asking = Asking()
    running = PodRuns("uid-1", "shop", "web-1", "web", phase="Running")

    def meanwhile() -> None:
        if gone:
            asking.book.delete(STUCK.uid)
        else:
            asking.book.runs[STUCK.uid] = running

    asking.meanwhile = meanwhile
    await asking.troubles.step()
    assert asking.told == ([] if gone else [running])
    assert len(asking.troubles.of(STUCK.uid)) == (0 if gone else 1)
