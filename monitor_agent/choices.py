"""From settings to the rules of the parts. Only translation; each part checks its own rules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kubesteer.model.errors import InvalidSettings
from kubesteer.model.network import NetworkResource
from kubesteer.rewards.judging import Rules
from kubesteer.rewards.learners import BetaLearner, EwmaLearner, Learner, NoLearner
from monitor_agent.capacity import CapacityRules, DirectionRule, Mark
from monitor_agent.settings import Learning, Network, Node


def node_name(node: Node, environ: Mapping[str, str]) -> str:
    """The node's name. Raises InvalidSettings where nobody tells it."""
    name = node.name or environ.get("NODE_NAME", "")
    if not name:
        raise InvalidSettings("node.name: nothing tells the node's name; set it, or NODE_NAME from spec.nodeName")
    return name


def holder_name(node: Node, environ: Mapping[str, str], host: str, process: int) -> str:
    """Who claims the column. A pod's name outlives a crash of its container, so the claim is taken up at once."""
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
                each.speed_bps,
            )
            for each in network.directions
        ),
        reserve=network.reserve,
        worse_after_s=network.worse_after_s,
        better_after_s=network.better_after_s,
        mark=Mark(network.mark),
    )


def secret(where: str, path: str | None) -> str | None:
    """What a file of one secret holds. Raises InvalidSettings where it cannot be read."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidSettings(f"{where}: {exc}") from exc


def _require_apart(network: Network) -> None:
    names = [each.direction for each in network.directions]
    if len(set(names)) < len(names):
        raise InvalidSettings(f"network.directions: {names} names a direction twice; write each once")
