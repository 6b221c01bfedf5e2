"""What the explaining process does: bodies into what they ask, questions into pages. Pure, no I/O.

The page is a struct, so that its JSON schema (/openapi.json) comes from the very fields that are sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from extender.wire.arguments import ArgumentsReader, NamesArguments, NodesArguments
from kubesteer.model.cluster import summarise_node
from kubesteer.model.errors import InvalidInput
from kubesteer.model.overrides import Mode
from kubesteer.model.requests import PodRequests
from kubesteer.model.reward import format_time
from kubesteer.model.standing import Standing
from kubesteer.placement.candidates import GivenNodes, NamedNodes
from kubesteer.placement.engine import Engine, Explanation
from kubesteer.placement.scoring import MAX_SCORE

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

    def do(self) -> tuple[Pod, Asked | None]:
        """What it asks about; None for every node. Raises InvalidInput."""
        reader = ArgumentsReader(names_body_bytes=self.names_body_bytes, most_nodes=lambda: self.most_nodes)
        try:
            arguments = reader.read_open(self.body)
        except MemoryError as exc:
            raise InvalidInput("body takes too much memory when it is decoded; set nodeCacheCapable: true") from exc
        if not isinstance(arguments, NamesArguments | NodesArguments):
            return arguments, None
        if isinstance(arguments, NamesArguments):
            return arguments.pod, NamedNodes(arguments.names)
        return arguments.pod, GivenNodes([summarise_node(node, self.policy.network) for node in arguments.nodes])


def _means(description: str) -> msgspec.Meta:
    return msgspec.Meta(description=description)


class Learned(msgspec.Struct, frozen=True):
    """Where a node's reward comes from."""

    evidence: Annotated[float, _means("How many runs' worth the node's own outcomes count.")]
    prior: Annotated[float, _means("What is believed without the node's own runs, 0..1.")]
    mean: Annotated[float, _means("Both joined, 0..1.")]
    sample: Annotated[float | None, _means("The draw that the score goes by where rewards.choice is thompson.")]
    standing: Annotated[
        str | None,
        _means(
            "Where rewards.choice is probation: open; shut, since it is believed bad; tried, by a pod whose outcome "
            "is not known yet; on probation, so that this pod may try it."
        ),
    ]
    shut_until: Annotated[str | None, _means("When a node that is believed bad may be tried again, or might since.")]


class ExplainedNode(msgspec.Struct, frozen=True):
    """One candidate node."""

    node: str
    fits: Annotated[bool, _means("Filter lets the node pass.")]
    offered: Annotated[bool, _means("Filter returns it: it fits, and is on the short list where one is made.")]
    reason: Annotated[str | None, _means("Why it does not fit.")]
    balance: Annotated[float | None, _means("The balance term, 0..1; null where it has no say.")]
    reward: Annotated[float | None, _means("The reward term, 0..1; null where it has no say.")]
    learned: Learned | None
    total: Annotated[float, _means("The weighted mean of the terms, 0..1.")]
    score: Annotated[int, msgspec.Meta(description="What prioritize answers.", ge=0, le=MAX_SCORE)]


class ExplanationPage(msgspec.Struct, frozen=True, rename="camel"):
    """Why a pod would go where."""

    pod: Annotated[str, _means("namespace/name")]
    pod_type: Annotated[str, _means("What rewards are learned by.")]
    mode: Annotated[Mode, _means("Whether the answers decide for this pod, or are only recorded.")]
    requests: Annotated[PodRequests, _means("What the pod asks for: millicores, bytes, bit/s by direction.")]
    nodes: Annotated[list[ExplainedNode], _means("The candidates, in request order.")]
    suspect: Annotated[str | None, _means("What looks like a unit mistake in the pod's SLO.")]


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
            ExplanationPage(
                pod=f"{pod.namespace}/{pod.name}",
                pod_type=pod.pod_type,
                mode=self.policy.of(pod).mode,
                requests=pod.requests,
                nodes=_nodes(asked, explanation),
                suspect=explanation.filtered.suspect,
            )
        )


Job = Read | Explain


def page_schema() -> dict[str, Any]:
    """JSON schema of the page, without references."""
    (schema,), parts = msgspec.json.schema_components([ExplanationPage], ref_template="{name}")
    return dict(_inlined(schema, parts))


def _inlined(schema: Any, parts: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(one, parts) for one in schema]
    if not isinstance(schema, dict):
        return schema
    named = _inlined(parts[schema["$ref"]], parts) if "$ref" in schema else {}
    own = {key: _inlined(value, parts) for key, value in schema.items() if key != "$ref"}
    return {**named, **own}


def _nodes(asked: Question, explanation: Explanation) -> list[ExplainedNode]:
    """One object a candidate, in request order."""
    verdicts = {verdict.position: verdict for verdict in explanation.filtered.refused}
    passed = set(explanation.filtered.passed.tolist())
    terms = explanation.terms
    return [
        ExplainedNode(
            node=name,
            fits=p not in verdicts,
            offered=p in passed,
            reason=verdicts[p].reason if p in verdicts else None,
            balance=None if terms.balance is None else round(float(terms.balance[p]), 4),
            reward=None if terms.reward is None else round(float(terms.reward[p]), 4),
            learned=_learned(asked.opinion, p),
            total=round(float(terms.total[p]), 4),
            score=int(explanation.scores[p]),
        )
        for p, name in enumerate(asked.names)
    ]


def _learned(opinion: Opinion | None, position: int) -> Learned | None:
    if opinion is None:
        return None
    sample, probation = opinion.sample, opinion.probation
    standing = None if probation is None else Standing(probation.state[position])
    return Learned(
        evidence=round(float(opinion.evidence[position]), 4),
        prior=round(float(opinion.prior[position]), 4),
        mean=round(float(opinion.mean[position]), 4),
        sample=None if sample is None else round(float(sample[position]), 4),
        standing=None if standing is None else standing.name.lower().replace("_", " "),
        shut_until=None
        if probation is None or standing is Standing.OPEN
        else format_time(round(float(probation.shut_until_s[position]))),
    )
