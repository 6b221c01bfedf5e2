"""Which kubesteer runs on which Python, as a metric: the same name in every service, told apart by the scrape's job."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, Gauge


def tell_build(registry: CollectorRegistry) -> None:
    """Adds kubesteer_build_info."""
    built = Gauge(
        "kubesteer_build_info", "1; its labels tell what runs here.", ["version", "python"], registry=registry
    )
    built.labels(_own_version(), platform.python_version()).set(1)


def _own_version() -> str:
    """Code that runs from its folders, not installed, has none; that stops no service."""
    try:
        return version("kubesteer")
    except PackageNotFoundError:
        return "unknown"
