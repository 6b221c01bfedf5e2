"""The fields of KubeSchedulerConfiguration v1, as data, and a document held against them as Go's strict decoder does.

A plugin's args are its own business and not looked into.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeAlias

from kubesteer.schedulerconfig.findings import Finding, error

Schema: TypeAlias = "str | Mapping[str, Schema] | tuple[Schema]"
"""A scalar's type, the fields of an object, or the one element of a list."""

_PLUGIN_SET: Schema = {
    "enabled": ({"name": "string", "weight": "int32"},),
    "disabled": ({"name": "string", "weight": "int32"},),
}
_POINTS = {
    **dict.fromkeys(
        (
            *("preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore", "score"),
            *("reserve", "permit", "preBind", "bind", "postBind", "multiPoint"),
        ),
        0,
    ),
    "placementGenerate": 36,
    "placementScore": 36,
    "podGroupPostFilter": 37,
}
"""Extension points, and the minor from which they are there."""
_POINTS_EVERYWHERE = "multiPoint"
_TLS: Schema = {
    "insecure": "boolean",
    **dict.fromkeys(("serverName", "certFile", "keyFile", "caFile"), "string"),
    **dict.fromkeys(("certData", "keyData", "caData"), "bytes"),
}
_EXTENDER: Schema = {
    **dict.fromkeys(("urlPrefix", "filterVerb", "preemptVerb", "prioritizeVerb", "bindVerb"), "string"),
    "weight": "int64",
    "enableHTTPS": "boolean",
    "tlsConfig": _TLS,
    "httpTimeout": "duration",
    "nodeCacheCapable": "boolean",
    "managedResources": ({"name": "string", "ignoredByScheduler": "boolean"},),
    "ignorable": "boolean",
}

OLD_NAMES = {
    "alwaysCheckAllPredicates": "leave it out: the scheduler stops at a node's first refusal",
    "algorithmSource": "it went with the Policy API; write profiles[].plugins",
    "bindTimeoutSeconds": "it is VolumeBinding's args.bindTimeoutSeconds in profiles[].pluginConfig",
    "disablePreemption": "disable DefaultPreemption in profiles[].plugins.postFilter",
    "enableHttps": "write enableHTTPS",
    "hardPodAffinitySymmetricWeight": "it is InterPodAffinity's args.hardPodAffinityWeight in profiles[].pluginConfig",
    "hardPodAffinityWeight": "it is InterPodAffinity's args.hardPodAffinityWeight in profiles[].pluginConfig",
    "healthzBindAddress": "it went with v1beta2; use the flags --bind-address and --secure-port",
    "metricsBindAddress": "it went with v1beta2; use the flags --bind-address and --secure-port",
    "predicates": "it went with the Policy API; write profiles[].plugins.filter",
    "priorities": "it went with the Policy API; write profiles[].plugins.score",
    "schedulerName": "write profiles[].schedulerName",
    "unreserve": "write reserve",
}
"""Names of v1alpha1, v1beta1 to 3 and the Policy API that v1 no longer knows."""

_DURATION = re.compile(r"[+-]?(?:0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZES = {"int32": 1 << 31, "int64": 1 << 63}


def schema(minor: int) -> Schema:
    """The fields that this minor's scheduler knows."""
    plugins = {point: _PLUGIN_SET for point, since in _POINTS.items() if minor >= since}
    profile: Schema = {
        "schedulerName": "string",
        "percentageOfNodesToScore": "int32",
        "plugins": plugins,
        "pluginConfig": ({"name": "string", "args": "any"},),
    }
    return {
        "apiVersion": "string",
        "kind": "string",
        "parallelism": "int32",
        "leaderElection": {
            "leaderElect": "boolean",
            **dict.fromkeys(("leaseDuration", "renewDeadline", "retryPeriod"), "duration"),
            **dict.fromkeys(("resourceLock", "resourceName", "resourceNamespace"), "string"),
        },
        "clientConnection": {
            **dict.fromkeys(("kubeconfig", "acceptContentTypes", "contentType"), "string"),
            "qps": "number",
            "burst": "int32",
        },
        "enableProfiling": "boolean",
        "enableContentionProfiling": "boolean",
        "percentageOfNodesToScore": "int32",
        "podInitialBackoffSeconds": "int64",
        "podMaxBackoffSeconds": "int64",
        "profiles": (profile,),
        "extenders": (_EXTENDER,),
        "delayCacheUntilActive": "boolean",
    }


def conform(value: Any, fields: Schema, path: str = "") -> tuple[Any, list[Finding]]:
    """The value without what the decoder refuses, and a finding for each of those.

    Null is as good as absent, but not in a duration.
    """
    if isinstance(fields, str):
        wrong = _wrong(value, fields) if value is not None or fields == "duration" else None
        return (None, [_mistyped(path, value, wrong)]) if wrong else (value, [])
    if isinstance(fields, tuple):
        return _conform_list(value, fields[0], path)
    return _conform_object(value, fields, path)


def seconds(duration: str) -> float:
    """A Go duration such as "1m30s". It must have passed `conform`."""
    parts = re.findall(r"([0-9.]+)(ns|us|µs|μs|ms|s|m|h)", duration)
    total = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return -total if duration.startswith("-") else total


def _conform_list(value: Any, element: Schema, path: str) -> tuple[Any, list[Finding]]:
    if value is None:
        return [], []
    if not isinstance(value, list):
        return [], [_mistyped(path, value, "a list")]
    conformed = [conform(each, element, f"{path}[{number}]") for number, each in enumerate(value)]
    return [each for each, _ in conformed], [finding for _, found in conformed for finding in found]


def _conform_object(value: Any, fields: Mapping[str, Schema], path: str) -> tuple[Any, list[Finding]]:
    if value is None:
        return {}, []
    if not isinstance(value, dict):
        return {}, [_mistyped(path, value, "an object")]
    clean: dict[str, Any] = {}
    findings = []
    for name, part in value.items():
        at = f"{path}.{name}" if path else str(name)
        if name not in fields:
            findings.append(_unknown(at, str(name), part, fields))
            continue
        clean[name], found = conform(part, fields[name], at)
        findings += found
    return {name: part for name, part in clean.items() if part is not None}, findings


def _wrong(value: Any, type_name: str) -> str | None:
    """What should stand there instead, or None where the value is right."""
    if type_name in _SIZES:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and -_SIZES[type_name] <= value < _SIZES[type_name] else f"a whole number ({type_name})"
    if type_name == "duration":
        right = isinstance(value, str) and _DURATION.fullmatch(value) is not None
        return None if right else "a duration with its unit, such as 1s or 500ms"
    if type_name == "bytes":
        return None if isinstance(value, str) and _is_base64(value) else "bytes in base64"
    types: dict[str, tuple[type, ...]] = {
        "string": (str,),
        "boolean": (bool,),
        "number": (int, float),
        "any": (object,),
    }
    right = isinstance(value, types[type_name]) and not (type_name == "number" and isinstance(value, bool))
    return None if right else f"a {type_name}"


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _mistyped(path: str, value: object, wanted: str) -> Finding:
    return error("type", path, value, "the scheduler's decoder refuses this type here", f"write {wanted}")


def _unknown(path: str, name: str, value: object, fields: Mapping[str, Schema]) -> Finding:
    if name in OLD_NAMES:
        return error("old-name", path, value, "v1 has no such field any more", OLD_NAMES[name])
    if name in _POINTS and _POINTS_EVERYWHERE in fields:
        return error(
            "unknown-field", path, value, f"this extension point is there from 1.{_POINTS[name]} on", "leave it out"
        )
    exact = [known for known in fields if known.lower() == name.lower()]
    elsewhere = _places().get(name, []) if not exact else []
    close = exact or difflib.get_close_matches(name, fields, n=1)
    if len(elsewhere) == 1:
        fix = f"move it to {elsewhere[0] or 'the top of the file'}"
    else:
        fix = f"write {close[0]}" if close else f"leave it out; there are: {', '.join(fields)}"
    return error("unknown-field", path, value, "the scheduler knows no such field here and refuses the file", fix)


@cache
def _places() -> dict[str, list[str]]:
    """Where each field of the newest minor belongs: the paths of the objects that have it."""
    found: dict[str, list[str]] = {}

    def walk(fields: Schema, path: str) -> None:
        if isinstance(fields, tuple):
            walk(fields[0], f"{path}[]")
        elif isinstance(fields, Mapping):
            for name, part in fields.items():
                found.setdefault(name, []).append(path)
                walk(part, f"{path}.{name}" if path else name)

    walk(schema(max(_POINTS.values())), "")
    return found
