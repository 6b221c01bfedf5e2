"""From settings to the rules of the parts. Only translation; each part checks its own rules."""

from __future__ import annotations

import re
from collections.abc import Mapping

from kubesteer.model.errors import InvalidQuantity, InvalidSettings
from kubesteer.model.network import NetworkResource
from kubesteer.model.quantity import parse_quantity, shown, to_units
from kubesteer.rewards.judging import Rules
from kubesteer.rewards.learners import BetaLearner, EwmaLearner, Learner, NoLearner
from monitor_agent.capacity import CapacityRules, DirectionRule, Mark
from monitor_agent.settings import Learning, Measure, Network, Node

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253


def node_name(node: Node, environ: Mapping[str, str]) -> str:
    """The node's name. Raises InvalidSettings where it is not known."""
    name = node.name or environ.get("NODE_NAME", "")
    if not name:
        raise InvalidSettings("node.name: nothing tells the node's name; set it, or NODE_NAME from spec.nodeName")
    if len(name) > _LONGEST_NAME or not _SUBDOMAIN.fullmatch(name):
        raise InvalidSettings(
            f"node.name: {shown(name)} cannot be a node's name; write it as `kubectl get nodes` does: at most "
            f"{_LONGEST_NAME} of a-z, 0-9, '-' and '.', each part beginning and ending with a letter or digit"
        )
    return name


def holder_name(node: Node, environ: Mapping[str, str], host: str, process: int) -> str:
    """The claim's holder. A pod's name outlives a crash of its container, so the claim is taken up at once."""
    pod = "/".join(filter(None, (environ.get("POD_NAMESPACE"), environ.get("POD_NAME"))))
    return node.holder or pod or f"process {process} on {host}"


def learner_of(learning: Learning) -> Learner:
    """The rule that moves beliefs."""
    match learning.learner:
        case "beta":
            return BetaLearner(learning.half_life_s)
        case "ewma":
            return EwmaLearner(learning.ewma_weight)
        case "none":
            return NoLearner()


def judging_rules(learning: Learning) -> Rules:
    """What counts as an outcome."""
    return Rules(learning.success_after_s, learning.mttf_s, learning.stuck_after_s, slow_from=learning.slow_from)


def network_of(network: Network) -> tuple[NetworkResource, ...]:
    """How pods ask for bandwidth."""
    _require_apart(network)
    return tuple(
        NetworkResource(each.direction, tuple(each.resource_names), each.annotation) for each in network.directions
    )


def capacity_rules(network: Network) -> CapacityRules:
    """What is published of the link."""
    return CapacityRules(
        directions=tuple(
            DirectionRule(
                each.direction,
                tuple(each.resource_names[:1]),
                each.overcommit,
                each.annotation_overcommit,
                _speed_bps(f"network.directions[{number}].speed_bps", each.speed_bps),
            )
            for number, each in enumerate(network.directions)
        ),
        reserve=network.reserve,
        worse_after_s=network.worse_after_s,
        better_after_s=network.better_after_s,
        mark=Mark(network.mark),
    )


def require_sense(measure: Measure) -> None:
    """Raises InvalidSettings where half of what a measure needs is given."""
    if measure.queries and measure.prometheus is None:
        raise InvalidSettings(
            "measure.prometheus: measure.queries is given, and this is not; write the URL of a Prometheus"
        )
    if measure.prometheus is not None and not measure.queries:
        raise InvalidSettings("measure.queries: measure.prometheus is asked nothing; write a query by pod type")


def _speed_bps(where: str, speed: int | str | None) -> int | None:
    if not isinstance(speed, str):
        return speed
    try:
        speed_bps = to_units(parse_quantity(speed))
    except InvalidQuantity as exc:
        raise InvalidSettings(f"{where}: {exc}") from exc
    if speed_bps <= 0:
        raise InvalidSettings(f"{where}: {shown(speed)} is no speed; write bit/s above 0, such as 10G")
    return speed_bps


def _require_apart(network: Network) -> None:
    names = [each.direction for each in network.directions]
    if len(set(names)) < len(names):
        raise InvalidSettings(f"network.directions: {names} names a direction twice; write each once")
