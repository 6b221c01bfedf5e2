"""How the scheduler would reach kubesteer: address, verbs, TLS, time.

The scheduler takes whatever stands here, and calls then fail, or go where they should not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from kubesteer.schedulerconfig.findings import Finding, warning
from kubesteer.schedulerconfig.schema import seconds
from kubesteer.schedulerconfig.service import VERBS, Service

MOST_TIMEOUT_S = 1.0
_DEFAULT_TIMEOUT = "5s"
_VERB_FIELDS = {"filterVerb": "filter", "prioritizeVerb": "prioritize", "preemptVerb": "preempt", "bindVerb": "bind"}

Entry = Mapping[str, Any]


def connection(path: str, entry: Entry, service: Service) -> Iterator[Finding]:
    """What is wrong with one entry of `extenders`, which is kubesteer's."""
    url = str(entry.get("urlPrefix", ""))
    parts = _split(url)
    if parts is None:
        reason = "without scheme and host every call fails, and the scheduler starts all the same"
        yield warning("url", f"{path}.urlPrefix", url, reason, "write http://HOST:PORT or https://HOST:PORT")
    else:
        if "@" in parts.netloc:
            parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
            reason = "the scheduler writes this address into its log, and kubesteer asks for no password"
            fix = "leave the password out; use client certificates"
            yield warning("url-password", f"{path}.urlPrefix", parts.geturl(), reason, fix)
        yield from _address(f"{path}.urlPrefix", parts, service)
        yield from _encryption(path, entry, parts, service)
    yield from _verbs(path, entry, service)
    yield from _timeout(f"{path}.httpTimeout", entry, service)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 0) >= 0
    except ValueError:
        return None
    return parts if usable else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(path: str, parts: SplitResult, service: Service) -> Iterator[Finding]:
    url, found, wanted = parts.geturl(), parts.path.rstrip("/"), service.path_prefix
    verb = next((verb for verb in VERBS if found == f"{wanted}/{verb}"), None)
    if verb:
        reason = f"the scheduler appends the verb: calls go to {found}/{verb}, and kubesteer answers 404"
        yield warning("url-path", path, url, reason, f"write {parts.scheme}://{parts.netloc}{wanted}")
    elif found != wanted:
        reason = f"kubesteer answers under {wanted or '/'} and 404 elsewhere, by its listen.path_prefix"
        fix = f"write {parts.scheme}://{parts.netloc}{wanted}, or set listen.path_prefix to {found or 'nothing'}"
        yield warning("url-path", path, url, reason, f"{fix} (--settings FILE tells this check of it)")
    if parts.query or parts.fragment:
        yield warning(
            "url", path, url, "the verb is appended to all of it, also to what follows ? or #", "leave it out"
        )
    if parts.port == service.ops_port:
        reason = "this is kubesteer's ops port, which answers no verb"
        yield warning("url-port", path, url, reason, "write the port of listen.port (8888 by default)")


def _encryption(path: str, entry: Entry, parts: SplitResult, service: Service) -> Iterator[Finding]:
    tls, secure = entry.get("tlsConfig", {}), parts.scheme == "https"
    enabled, where = bool(entry.get("enableHTTPS")), f"{path}.enableHTTPS"
    if not secure:
        if enabled or tls:
            reason = "the scheme of urlPrefix decides, and http sends everything in the clear"
            yield warning(
                "https-scheme", where, enabled, reason, "write https:// in urlPrefix, or leave the TLS fields out"
            )
        elif not _is_loopback(str(parts.hostname)):
            reason = "pods' specifications cross the network in the clear, and whoever answers decides where they go"
            yield warning("clear-text", f"{path}.urlPrefix", parts.geturl(), reason, "use https with tlsConfig.caFile")
        if service.serves_tls:
            reason = "kubesteer's settings have tls.cert_file, so it speaks TLS only"
            yield warning("https-scheme", f"{path}.urlPrefix", parts.geturl(), reason, "write https://")
        return
    yield from _trust(path, tls, enabled)
    has_cert, has_key = (bool(tls.get(f"{name}File") or tls.get(f"{name}Data")) for name in ("cert", "key"))
    if has_cert != has_key:
        reason = "without its other half it is left out in silence: no client certificate is shown"
        fix = "give certFile and keyFile, or neither"
        yield warning("half-certificate", f"{path}.tlsConfig", "certFile" if has_cert else "keyFile", reason, fix)
    if service.asks_certificate and not has_cert:
        reason = "kubesteer's settings have tls.client_ca_file, so it refuses clients without a certificate"
        yield warning("no-certificate", f"{path}.tlsConfig", None, reason, "give certFile and keyFile")
    if service.serves_tls is False:
        reason = "kubesteer's settings have no tls.cert_file, so it does not speak TLS"
        yield warning("https-scheme", f"{path}.urlPrefix", parts.geturl(), reason, "set tls.cert_file and tls.key_file")


def _trust(path: str, tls: Entry, enabled: bool) -> Iterator[Finding]:
    has_ca = tls.get("caFile") or tls.get("caData")
    fix = "give tlsConfig.caFile"
    if tls.get("insecure"):
        reason = "the scheduler trusts anybody who answers at this address"
        yield warning("tls-insecure", f"{path}.tlsConfig.insecure", True, reason, f"leave it out, and {fix}")
    elif not has_ca and enabled:
        reason = "enableHTTPS without a CA makes the scheduler trust anybody, in silence"
        yield warning("tls-insecure", f"{path}.tlsConfig.caFile", None, reason, fix)
    elif not has_ca:
        reason = "without a CA only certificates of public authorities are trusted: calls to any other fail"
        yield warning("tls-no-ca", f"{path}.tlsConfig.caFile", None, reason, f"{fix}, and enableHTTPS: true")


def _verbs(path: str, entry: Entry, service: Service) -> Iterator[Finding]:
    given = {field: entry[field] for field in _VERB_FIELDS if entry.get(field)}
    if not given:
        reason = "without a verb the extender is never called"
        yield warning("no-verb", path, None, reason, "write filterVerb: filter and prioritizeVerb: prioritize")
    for field, verb in given.items():
        meant = _VERB_FIELDS[field]
        if meant not in VERBS:
            lost = "no pod is ever bound" if field == "bindVerb" else "no pod gets its place by preemption"
            reason = f"kubesteer does not answer {meant}: {lost}"
            yield warning("verb", f"{path}.{field}", verb, reason, f"leave {field} out; the scheduler does it itself")
        elif verb != meant:
            reason = (
                f"the scheduler calls {service.path_prefix}/{verb}, and kubesteer answers {service.path_prefix}/{meant}"
            )
            yield warning("verb", f"{path}.{field}", verb, reason, f"write {meant}")


def _timeout(path: str, entry: Entry, service: Service) -> Iterator[Finding]:
    value = entry.get("httpTimeout")
    timeout_s = seconds(value or "0s") or seconds(_DEFAULT_TIMEOUT)
    if timeout_s < 0:
        yield warning(
            "timeout", path, value, "a negative time-out is none: a hung call stops all scheduling", "write 1s"
        )
    elif timeout_s > MOST_TIMEOUT_S:
        span = value if value and seconds(value) else f"{_DEFAULT_TIMEOUT}, the default"
        reason = f"calls sit in the scheduler's one loop: while one hangs for {span}, no other pod is scheduled"
        yield warning("timeout", path, value, reason, "write 1s")
    elif timeout_s <= service.deadline_s:
        reason = f"kubesteer's own deadline is {service.deadline_s:g} s: its neutral answer would come too late"
        yield warning("timeout", path, value, reason, f"stay above limits.deadline_ms, {service.deadline_s * 1e3:g}")
