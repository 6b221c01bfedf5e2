"""Which kubesteer runs on which Python, as a metric: the same name in every service, told apart by the scrape's job."""

from __future__ import annotations

import platform

from prometheus_client import CollectorRegistry, Gauge

from kubesteer.clients.own_version import own_version


def tell_build(registry: CollectorRegistry) -> None:
    """Adds kubesteer_build_info."""
    built = Gauge(
        "kubesteer_build_info", "1; its labels tell what runs here.", ["version", "python"], registry=registry
    )
    built.labels(own_version(), platform.python_version()).set(1)
