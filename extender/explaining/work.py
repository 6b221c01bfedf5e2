"""What the explaining process does: bodies into what they ask, questions into pages. Pure, no I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from extender.wire.arguments import ArgumentsReader, NamesArguments
from kubesteer.model.cluster import summarise_node
from kubesteer.model.errors import InvalidInput
from kubesteer.placement.candidates import GivenNodes, NamedNodes
from kubesteer.placement.engine import Engine, Explanation

if TYPE_CHECKING:
    from kubesteer.clients.kubernetes.objects import Pod
    from kubesteer.placement.candidates import Asked, Opinion
    from kubesteer.placement.flow import Question
    from kubesteer.placement.policy import Policy


@dataclass(frozen=True, slots=True)
class Read:
    """Read this body. most_nodes: it may name."""

    body: bytes
    names_body_bytes: int
    most_nodes: int
    policy: Policy

    def do(self) -> tuple[Pod, Asked]:
        """What it asks about. Raises InvalidInput."""
        reader = ArgumentsReader(names_body_bytes=self.names_body_bytes, most_nodes=lambda: self.most_nodes)
        try:
            arguments = reader.read(self.body)
        except MemoryError as exc:
            raise InvalidInput("body takes too much memory when it is decoded; set nodeCacheCapable: true") from exc
        if isinstance(arguments, NamesArguments):
            return arguments.pod, NamedNodes(arguments.names)
        return arguments.pod, GivenNodes([summarise_node(node, self.policy.network) for node in arguments.nodes])


@dataclass(frozen=True, slots=True)
class Explain:
    """Explain the decision of this question."""

    question: Question
    policy: Policy

    def do(self) -> bytes:
        """The page, as JSON."""
        asked, pod = self.question, self.question.pod
        explanation = Engine(self.policy).explain(pod, asked.candidates, asked.circumstances, shortlist=asked.shortlist)
        return msgspec.json.encode(
            {
                "pod": f"{pod.namespace}/{pod.name}",
                "podType": pod.pod_type,
                "requests": asdict(pod.requests),
                "nodes": _nodes(asked, explanation),
                "suspect": explanation.filtered.suspect,
            }
        )


Job = Read | Explain


def _nodes(asked: Question, explanation: Explanation) -> list[dict[str, Any]]:
    """One object a candidate, in request order."""
    verdicts = {verdict.position: verdict for verdict in explanation.filtered.refused}
    passed = set(explanation.filtered.passed.tolist())
    terms = explanation.terms
    return [
        {
            "node": name,
            "fits": p not in verdicts,
            "offered": p in passed,
            "reason": verdicts[p].reason if p in verdicts else None,
            "balance": None if terms.balance is None else round(float(terms.balance[p]), 4),
            "reward": None if terms.reward is None else round(float(terms.reward[p]), 4),
            "learned": _learned(asked.opinion, p),
            "total": round(float(terms.total[p]), 4),
            "score": int(explanation.scores[p]),
        }
        for p, name in enumerate(asked.names)
    ]


def _learned(opinion: Opinion | None, position: int) -> dict[str, float | None] | None:
    """Where a node's reward comes from: what its own runs are worth, what was believed without them, and both joined.

    sample: the draw that the score goes by where rewards.choice is thompson.
    """
    if opinion is None:
        return None
    sample = opinion.sample
    return {
        "evidence": round(float(opinion.evidence[position]), 4),
        "prior": round(float(opinion.prior[position]), 4),
        "mean": round(float(opinion.mean[position]), 4),
        "sample": None if sample is None else round(float(sample[position]), 4),
    }
