"""OpenAPI of the verbs, by hand: their bodies are read raw, so the schemas are stated here. With examples that work."""

from __future__ import annotations

from typing import Any

from extender.explaining.work import page_schema

_POD = {
    "metadata": {"name": "web-1", "namespace": "default", "uid": "8f1c", "labels": {"app": "web"}},
    "spec": {
        "containers": [
            {
                "name": "web",
                "resources": {"requests": {"cpu": "500m", "memory": "256Mi", "kubesteer.io/egress-bps": "300M"}},
            }
        ]
    },
}
EXAMPLE: dict[str, Any] = {"Pod": _POD, "Nodes": None, "NodeNames": ["node-1", "node-2", "node-3"]}

_REASONS = {"type": "object", "additionalProperties": {"type": "string"}}
_NULLABLE_NAMES = {"type": ["array", "null"], "items": {"type": "string"}}
_NULLABLE_NODES = {
    "type": ["object", "null"],
    "description": "A core/v1 NodeList; nodeCacheCapable: false sends it.",
    "properties": {"items": {"type": ["array", "null"], "items": {"type": "object"}}},
}
_ARGS = {
    "type": "object",
    "required": ["Pod"],
    "properties": {
        "Pod": {"type": "object", "description": "The core/v1 Pod that is to be placed."},
        "Nodes": _NULLABLE_NODES,
        "NodeNames": _NULLABLE_NAMES,
    },
}
_FILTER_RESULT = {
    "type": "object",
    "required": ["Nodes", "NodeNames", "FailedNodes", "FailedAndUnresolvableNodes", "Error"],
    "properties": {
        "Nodes": _NULLABLE_NODES,
        "NodeNames": _NULLABLE_NAMES,
        "FailedNodes": {**_REASONS, "description": "Why a node does not fit, where evicting pods could help."},
        "FailedAndUnresolvableNodes": {**_REASONS, "description": "Why a node does not fit, whatever is evicted."},
        "Error": {"type": "string", "description": "What is wrong with the request; empty where nothing is."},
    },
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
_PRIORITY_LIST = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["Host", "Score"],
        "properties": {"Host": {"type": "string"}, "Score": {"type": "integer", "minimum": 0, "maximum": 10}},
    },
}


def _operation(result: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ARGS, "examples": {"names": {"value": EXAMPLE}}}},
        },
        "responses": {
            "200": {"description": "The answer.", "content": {"application/json": {"schema": result}}},
            "408": {"description": "The body did not come in time."},
            "413": {"description": "The body is over the limit."},
        },
    }


FILTER = _operation(_FILTER_RESULT)
PRIORITIZE = _operation(_PRIORITY_LIST)


def how_to_call(url: str) -> dict[str, Any]:
    """What a GET on a verb is told."""
    return {
        "error": "this is a scheduler extender verb: POST ExtenderArgs as JSON",
        "example": f"curl -s -X POST {url} -H 'Content-Type: application/json' -d @args.json",
        "args.json": EXAMPLE,
    }


EXPLAIN: dict[str, Any] = {
    "description": "Where Nodes and NodeNames are both null: of every node that the extender knows.",
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _ARGS, "examples": {"names": {"value": EXAMPLE}}}},
    },
    "responses": {
        "200": {"description": "The page.", "content": {"application/json": {"schema": page_schema()}}},
        "400": {"description": "The body cannot be used.", "content": {"application/json": {"schema": _ERROR}}},
        "503": {"description": "Too much to explain; ask again.", "content": {"application/json": {"schema": _ERROR}}},
    },
}
