"""How the scheduler would reach kubesteer: address, verbs, TLS, time.

The scheduler takes whatever stands here, and calls then fail, or go where they should not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

from kubesteer.schedulerconfig.findings import Finding, warning
from kubesteer.schedulerconfig.ours import Entry, split
from kubesteer.schedulerconfig.schema import seconds
from kubesteer.schedulerconfig.service import VERBS, Service

MOST_TIMEOUT_S = 1.0
_DEFAULT_TIMEOUT = "5s"
_VERB_FIELDS = {"filterVerb": "filter", "prioritizeVerb": "prioritize", "preemptVerb": "preempt", "bindVerb": "bind"}


def connection(path: str, entry: Entry, service: Service) -> Iterator[Finding]:
    """What is wrong with one entry of `extenders`, which is kubesteer's."""
    url = str(entry.get("urlPrefix", ""))
    parts = split(url)
    if parts is None:
        reason = "without scheme and host every call fails, and the scheduler starts all the same"
        yield warning("url", f"{path}.urlPrefix", url, reason, "write http://HOST:PORT or https://HOST:PORT")
    else:
        if "@" in parts.netloc:
            parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
            reason = "the scheduler writes this address into its log, and kubesteer asks for no password"
            fix = "leave the password out; use client certificates"
            yield warning("url-password", f"{path}.urlPrefix", parts.geturl(), reason, fix)
        if parts.port == service.ops_port:
            reason = "this is kubesteer's ops port, which answers no verb"
            fix = f"write the port of listen.port, {service.port}"
            yield warning("url-port", f"{path}.urlPrefix", parts.geturl(), reason, fix)
        yield from _paths(path, entry, parts, service)
        yield from _encryption(path, entry, parts, service)
    yield from _verbs(path, entry)
    yield from _timeout(f"{path}.httpTimeout", entry, service)


def called_path(url: str, verb: str) -> str:
    """The path that the scheduler calls: it cuts the slashes off the prefix, and puts one before the verb."""
    return urlsplit(f"{url.rstrip('/')}/{verb}").path


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _paths(path: str, entry: Entry, parts: SplitResult, service: Service) -> Iterator[Finding]:
    """Where the calls go, and where kubesteer answers; one finding for verbs with the same cause."""
    url, where = parts.geturl(), f"{path}.urlPrefix"
    bare, own, wanted = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/"), service.path_prefix
    found: dict[str, Finding] = {}
    for field, meant in _VERB_FIELDS.items():
        verb = entry.get(field)
        if not verb or meant not in VERBS:
            continue
        calls, answers = called_path(url, verb), f"{wanted}/{meant}"
        if calls == answers:
            continue
        reason = f"the scheduler calls {calls or '/'}, and kubesteer answers {answers}"
        if parts.query or parts.fragment:
            reason = "the verb is put behind all of it, also behind what follows ? or #"
            one = warning("url", where, url, reason, f"write {bare}{wanted}")
        elif own in {f"{wanted}/{each}" for each in VERBS}:
            one = warning("url-path", where, url, f"{reason}: a verb stands here already", f"write {bare}{wanted}")
        elif verb != meant and answers.startswith(f"{own}/"):
            fix = f"write {answers.removeprefix(f'{own}/')}"
            if own != wanted:
                fix += f", or {bare}{wanted} in urlPrefix and {meant} here"
            one = warning("verb", f"{path}.{field}", verb, reason, fix)
        else:
            fix = f"write {bare}{wanted}, or set listen.path_prefix to {own or 'nothing'}"
            fix += " (--settings FILE tells this check of it)"
            one = warning("url-path", where, url, f"{reason}, by its listen.path_prefix", fix)
        found.setdefault(one.path, one)
    yield from found.values()


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
            reason = "pods' specifications cross the network in the clear, and any program may answer for kubesteer"
            fix = "use https with tlsConfig.caFile"
            if service.serves_tls is False:
                fix += ", and tls.cert_file in kubesteer's settings, which now have none"
            yield warning("clear-text", f"{path}.urlPrefix", parts.geturl(), reason, fix)
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


def _verbs(path: str, entry: Entry) -> Iterator[Finding]:
    if not any(entry.get(field) for field in _VERB_FIELDS):
        reason = "without a verb the extender is never called"
        yield warning("no-verb", path, None, reason, "write filterVerb: filter and prioritizeVerb: prioritize")
    pods = "pod with these resources" if entry.get("managedResources") else "pod"
    for field, meant in _VERB_FIELDS.items():
        verb = entry.get(field)
        if not verb or meant in VERBS:
            continue
        binds = meant == "bind"
        if entry.get("ignorable"):
            each, then = (
                (f"each {pods}", "binds it itself") if binds else ("each preemption", "goes on without the answer")
            )
            lost = f"{each} costs a call that fails; as the entry is ignorable, the scheduler then {then}"
        else:
            lost = f"no {pods} is ever bound" if binds else f"no {pods} gets a place by preemption"
        reason = f"kubesteer does not answer {meant}: {lost}"
        yield warning("verb", f"{path}.{field}", verb, reason, f"leave {field} out; the scheduler does it itself")


def _timeout(path: str, entry: Entry, service: Service) -> Iterator[Finding]:
    value = entry.get("httpTimeout")
    timeout_s = seconds(value or "0s") or seconds(_DEFAULT_TIMEOUT)
    if timeout_s < 0:
        yield warning(
            "timeout", path, value, "a negative time-out is none: a hung call stops all scheduling", "write 1s"
        )
    elif service.deadline_s >= MOST_TIMEOUT_S:
        reason = f"kubesteer's own deadline is {service.deadline_s:g} s, and a call may hang all scheduling that long"
        fix = f"set limits.deadline_ms below {MOST_TIMEOUT_S * 1e3:g} in kubesteer's settings, and write 1s here"
        yield warning("timeout", path, value, reason, fix)
    elif timeout_s > MOST_TIMEOUT_S:
        span = value if value and seconds(value) else f"{_DEFAULT_TIMEOUT}, the default"
        reason = f"calls sit in the scheduler's one loop: while one hangs for {span}, no other pod is scheduled"
        yield warning("timeout", path, value, reason, "write 1s")
    elif timeout_s <= service.deadline_s:
        reason = f"kubesteer's own deadline is {service.deadline_s:g} s: its neutral answer would come too late"
        yield warning("timeout", path, value, reason, f"stay above limits.deadline_ms, {service.deadline_s * 1e3:g}")
