"""Reasons that kubesteer itself gives to outcomes. Others are the kubelet's own, such as OOMKilled. Names only."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why an outcome has its value."""

    RAN = "Ran"
    """Long enough, and nothing else is known of the run."""
    COMPLETED = "Completed"
    SLOW_START = "SlowStart"
    SLOW_RUN = "SlowRun"
    NETWORK = "Network"
    """The part of the asked network rate that it got."""
    MEASURE = "Measure"
    """The application's own."""
    LIVENESS = "LivenessProbeFailed"
    CRASH_LOOP = "CrashLoopBackOff"
    EVICTED = "Evicted"
    PULL = "ErrImagePull"
    BINDING = "BindingFailed"


UNSCALED = frozenset({Reason.RAN, Reason.COMPLETED})
"""They tell that nothing more is known now, which does not undo what was known of the run before."""
MEASURED = frozenset({Reason.NETWORK, Reason.MEASURE})
"""They are measured for as long as the run goes on."""
WENT_WELL = UNSCALED | MEASURED | {Reason.SLOW_START, Reason.SLOW_RUN}
"""Of runs that did not fail, however low their value."""
