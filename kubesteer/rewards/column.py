"""One node's column in memory: what its agent learned, what of it is not stored yet, and what may be forgotten.

It is the agent's only buffer: while the store is away, outcomes go into the beliefs at once, and a record is written
when the store is back. Which runs were counted is part of the same record, so what a crash loses is found again in the
API and counted then. Before the store was read for the first time, outcomes are kept one by one, since the store may
hold them already.

No clock, no I/O: times are arguments, unix seconds. Not safe for use from several threads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.reward import EDITED, OTHER_TYPES, RewardRecord, shown
from kubesteer.model.runs import Outcome, PodRuns
from kubesteer.rewards.early import EarlyRuns
from kubesteer.rewards.entry import DURATION, STARTUP, Entry, Limits, keep_newest
from kubesteer.rewards.entry_records import to_entry, to_record
from kubesteer.rewards.judging import Judgement, UncountedRun, taken_on_s
from kubesteer.rewards.learners import Estimate, Learner

_MOST_MOVED = 32
"""Stored types that may be folded and not yet written so; they are written in one transaction."""
_MOST_PODS = 5000
"""Pods whose type is remembered: several times what a node can run."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be written in one transaction: records to put, pod types to delete."""

    puts: tuple[RewardRecord, ...]
    deletes: tuple[str, ...]
    versions: Mapping[str, int]
    """Of each type in it, as it was when the batch was taken."""

    def __bool__(self) -> bool:
        return bool(self.puts or self.deletes)


@dataclass(frozen=True, slots=True)
class Medians:
    """What is usual of a type on this node, in seconds; None where no pod told yet."""

    startup_s: float | None
    duration_s: float | None


class Column:
    """The beliefs of one node's agent by pod type. At most `max_types` of them: the others become one, OTHER_TYPES.

    recent, bad: how many outcomes a record shows. Raises InvalidSettings when a number is below 1.
    """

    def __init__(
        self, node: str, learner: Learner, *, max_types: int = 500, recent: int = 10, bad: int = 5, missed: int = 100
    ) -> None:
        for name, value in (("max_types", max_types), ("recent", recent), ("bad", bad), ("missed", missed)):
            if value < 1:
                raise InvalidSettings(f"{name} {shown(value)} is not a whole number of 1 or more")
        self.node = node
        self.is_loaded = False
        self._learner = learner
        self._max_types = max_types
        self._limits = Limits(recent, bad, missed)
        self._entries: dict[str, Entry] = {}
        self._type_of_pod: dict[str, str] = {}
        self._early = EarlyRuns()
        self._version = 0
        self._dirty: dict[str, int] = {}
        self._stored: set[str] = set()
        self._moved: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def folded(self) -> int:
        """How many times a type became a part of OTHER_TYPES."""
        return self._entries[OTHER_TYPES].folded if OTHER_TYPES in self._entries else 0

    @property
    def counted(self) -> int:
        """How many runs it counts, since the column began."""
        return sum(entry.count for entry in self._entries.values())

    def load(self, records: Iterable[RewardRecord], now_s: float) -> None:
        """Takes up what the store holds of this node. Earlier beliefs are kept, and counted once.

        A record dated ahead of now is from when a clock was wrong. It is dated now and written so.
        """
        early, late, type_of_late = self._early, self._entries, self._type_of_pod
        self._early, self._entries, self._type_of_pod = EarlyRuns(), {}, {}
        self.is_loaded = True
        for record in records:
            self._take_up(record, now_s)
        self._learn_all(early, now_s)
        for pod_type, entry in late.items():
            self._take_over(pod_type, entry, now_s)
        self._type_of_pod = type_of_late | self._type_of_pod
        self._fold(now_s, but=OTHER_TYPES)

    def adopt(self, records: Iterable[RewardRecord], now_s: float) -> list[str]:
        """Takes up values that were written into these records by hand; gives the types of which they are new.

        Which runs were counted is kept by an edit. What was not written before it is not among them: it is judged
        again, and counts on top.
        """
        edited = [record for record in records if self._is_edited(record)]
        for record in edited:
            self._take_up(record, now_s)
            self._mark(record.pod_type)
        self._fold(now_s, but=OTHER_TYPES)
        return [record.pod_type for record in edited]

    def take(self, pod: PodRuns, judgement: Judgement, now_s: float) -> tuple[Outcome, ...]:
        """Learns a pod's judgement; the outcomes that were not counted before."""
        runs: list[Outcome | UncountedRun] = [*judgement.outcomes, *judgement.passed]
        began_s = taken_on_s(pod)
        learned = self._learn_all([(run, began_s) for run in sorted(runs, key=lambda each: each.run)], now_s)
        if judgement.startup_s is not None:
            self.note_startup(pod.pod_type, pod.uid, judgement.startup_s)
        if judgement.duration_s is not None:
            self.note_duration(pod.pod_type, pod.uid, judgement.duration_s)
        return tuple(learned)

    def learn(self, outcome: Outcome, now_s: float, began_s: float | None = None) -> bool:
        """Counts an outcome, or puts it in place of an earlier one of its run; False when it was counted already.

        began_s: since when its pod is the node's; runs that no agent saw are spread over the time since then.
        """
        if not self.is_loaded and self._early.has_room(outcome):
            return self._early.learn(outcome, began_s)
        pod_type, entry = self._entry_of(outcome)
        if not self.is_loaded:
            self._early.hand_over(outcome, entry)
        if not entry.learn(self._learner, outcome, now_s, self._limits, began_s):
            return False
        self._changed(pod_type, outcome.pod_uid, entry, now_s)
        return True

    def skip(self, passed: UncountedRun, now_s: float) -> bool:
        """Takes note of a run that ended and is no outcome; False when it was known."""
        if not self.is_loaded and self._early.has_room(passed):
            return self._early.skip(passed)
        pod_type, entry = self._entry_of(passed)
        if not entry.skip(passed.pod_uid, passed.container, passed.run, passed.time_s):
            return False
        self._changed(pod_type, passed.pod_uid, entry, now_s)
        return True

    def note_startup(self, pod_type: str, pod_uid: str, seconds: float) -> bool:
        """Keeps a pod's start-up for the medians; False when it was noted before."""
        return self._note(STARTUP, pod_type, pod_uid, seconds)

    def note_duration(self, pod_type: str, pod_uid: str, seconds: float) -> bool:
        """Keeps how long a pod that ended well took; False when it was noted before."""
        return self._note(DURATION, pod_type, pod_uid, seconds)

    def startup_of(self, pod_uid: str) -> float | None:
        """The start-up that was noted of a pod."""
        entry = self._entries.get(self._type_of_pod.get(pod_uid, ""))
        return None if entry is None else entry.noted.get(pod_uid, {}).get(STARTUP)

    def medians(self, pod_type: str) -> Medians:
        """What is usual of a type here."""
        samples = self._entries.get(pod_type, Entry()).samples
        startup_s, duration_s = (median(samples[name]) if samples[name] else None for name in (STARTUP, DURATION))
        return Medians(startup_s, duration_s)

    def estimate(self, pod_type: str) -> Estimate | None:
        """What is believed of a type, at the time of its last outcome; None where no outcome counted yet."""
        return self._entries.get(pod_type, Entry()).estimate

    def records(self) -> Iterator[RewardRecord]:
        """Every type's record as it would be written now."""
        for pod_type in self._entries:
            yield self._record(pod_type)

    def dirty(self) -> int:
        """How many records wait to be written or deleted."""
        return len({*self._dirty, *self._moved}) if self.is_loaded else 0

    def take_batch(self, limit: int) -> Batch:
        """The records that have waited longest, up to `limit`, and with OTHER_TYPES all that was folded into it.

        They stay dirty until `written` says otherwise: a batch that failed needs no word.
        """
        if not self.is_loaded:
            return Batch((), (), {})
        together = [*self._moved, OTHER_TYPES] if self._moved or OTHER_TYPES in self._dirty else []
        alone = [pod_type for pod_type in self._dirty if pod_type not in together]
        chosen = together + alone[: max(0, limit - len(together))]
        puts = tuple(self._record(pod_type) for pod_type in chosen if pod_type in self._entries)
        deletes = tuple(pod_type for pod_type in chosen if pod_type not in self._entries)
        self._stored.update(record.pod_type for record in puts)
        return Batch(puts, deletes, {pod_type: self._version_of(pod_type) for pod_type in chosen})

    def written(self, batch: Batch) -> None:
        """The store holds the batch; what has changed since it was taken stays dirty."""
        self._stored.difference_update(batch.deletes)
        for pod_type, version in batch.versions.items():
            if self._version_of(pod_type) == version:
                self._dirty.pop(pod_type, None)
                self._moved.pop(pod_type, None)

    def rewrite(self) -> None:
        """Makes every record dirty: the store has lost the column."""
        for pod_type in self._entries:
            self._mark(pod_type)

    def prune(self, live_uids: Collection[str]) -> None:
        """Forgets which runs it counted of pods that are not among these: all pods of the node that exist.

        Not to be called with less than a whole list. It makes no record dirty.
        """
        live = frozenset(live_uids)
        for entry in self._entries.values():
            entry.forget_pods_but(live)
        for uid in [uid for uid in self._type_of_pod if uid not in live]:
            del self._type_of_pod[uid]

    def _is_edited(self, record: RewardRecord) -> bool:
        known = self._entries.get(record.pod_type, Entry()).unknown.get(EDITED)
        return record.extra.get(EDITED) not in (None, known)

    def _take_up(self, record: RewardRecord, now_s: float) -> None:
        entry = to_entry(record, self._learner.name, self._limits)
        self._entries[record.pod_type] = entry
        self._type_of_pod.update(dict.fromkeys(entry.pods(), record.pod_type))
        self._stored.add(record.pod_type)
        if entry.set_right(now_s):
            self._mark(record.pod_type)

    def _learn_all(self, runs: Iterable[tuple[Outcome | UncountedRun, float | None]], now_s: float) -> list[Outcome]:
        """runs: each with the time since when its pod is the node's."""
        learned = []
        for each, began_s in runs:
            if isinstance(each, UncountedRun):
                self.skip(each, now_s)
            elif self.learn(each, now_s, began_s):
                learned.append(each)
        return learned

    def _note(self, name: str, pod_type: str, pod_uid: str, seconds: float) -> bool:
        pod_type = self._type_of_pod.get(pod_uid, pod_type)
        entry = self._entries.get(pod_type) or Entry()
        if not entry.note(pod_uid, name, seconds):
            return False
        self._keep(pod_type, pod_uid, entry)
        if entry.estimate is not None:
            self._mark(pod_type)
        return True

    def _entry_of(self, run: Outcome | UncountedRun) -> tuple[str, Entry]:
        """Where the pod is counted: a pod stays with its first type, and goes where that was folded into."""
        pod_type = self._type_of_pod.get(run.pod_uid, run.pod_type)
        return pod_type, self._entries.get(pod_type) or Entry()

    def _changed(self, pod_type: str, pod_uid: str, entry: Entry, now_s: float) -> None:
        self._keep(pod_type, pod_uid, entry)
        self._mark(pod_type)
        self._fold(now_s, but=pod_type)

    def _keep(self, pod_type: str, pod_uid: str, entry: Entry) -> None:
        self._entries[pod_type] = entry
        self._type_of_pod[pod_uid] = pod_type
        keep_newest(self._type_of_pod, _MOST_PODS)

    def _take_over(self, pod_type: str, late: Entry, now_s: float) -> None:
        """Adds what was learned once the store could no longer hold it already."""
        for uid, samples in late.noted.items():
            for name, seconds in samples.items():
                self._note(name, pod_type, uid, seconds)
        if late.seen:
            entry = self._entries.setdefault(pod_type, Entry())
            entry.absorb(late, self._learner, now_s, self._limits)
            self._mark(pod_type)

    def _fold(self, now_s: float, *, but: str) -> None:
        """Makes the types with the least evidence a part of OTHER_TYPES, down to max_types."""
        while len(self._entries.keys() - {OTHER_TYPES}) > self._max_types:
            may_move = len(self._moved) < _MOST_MOVED
            folding = [one for one in self._entries if one not in (OTHER_TYPES, but)]
            candidates = [one for one in folding if may_move or one not in self._stored]
            if not candidates:
                return
            least = min(candidates, key=lambda one: self._weight(self._entries[one], now_s))
            entry, others = self._entries.pop(least), self._entries.setdefault(OTHER_TYPES, Entry())
            others.absorb(entry, self._learner, now_s, self._limits)
            others.folded += 1
            self._type_of_pod.update(dict.fromkeys(entry.pods(), OTHER_TYPES))
            self._dirty.pop(least, None)
            self._mark(OTHER_TYPES)
            if least in self._stored:
                self._moved[least] = self._version

    def _weight(self, entry: Entry, now_s: float) -> tuple[float, float]:
        if entry.estimate is None:
            return 0.0, 0.0
        return self._learner.evidence_at(entry.estimate, now_s), entry.estimate.time_s

    def _record(self, pod_type: str) -> RewardRecord:
        return to_record(self._entries[pod_type], self.node, pod_type, self._learner.name)

    def _mark(self, pod_type: str) -> None:
        self._version += 1
        self._dirty[pod_type] = self._version

    def _version_of(self, pod_type: str) -> int:
        return max(self._dirty.get(pod_type, 0), self._moved.get(pod_type, 0))
