"""The keeper makes what cert-manager would, has the rights for that and no more, and its certificates say what is told."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import yaml
from cryptography import x509

from kubesteer.certificates.issuing import dns_names_of, issue, issue_authority, usages_of
from kubesteer.certificates.values import Usage, wanted
from kubesteer.cli.keeping import settings as keep_settings
from kubesteer.model.errors import InvalidSettings
from tests.certificates_issued.world import DAY, MAKER, NOW
from tests.manifests.written import MANIFESTS, ROOT, written

WANTED = wanted("kubesteer")
NAMES = {*WANTED.authorities, *(each.secret for each in WANTED.leaves)}


def test_the_keeper_makes_what_cert_manager_makes() -> None:
    specs = [each.object["spec"] for each in written() if each.object["kind"] == "Certificate"]
    issuers = {e.object["metadata"]["name"]: e.object["spec"] for e in written() if e.object["kind"] == "Issuer"}
    assert {spec["secretName"] for spec in specs if spec.get("isCA")} == set(WANTED.authorities)
    theirs = {
        (
            spec["secretName"],
            issuers[spec["issuerRef"]["name"]]["ca"]["secretName"],
            spec["commonName"],
            frozenset(spec["usages"]),
            tuple(spec.get("dnsNames", ())),
        )
        for spec in specs
        if not spec.get("isCA")
    }
    ours = {
        (each.secret, each.authority, each.common_name, frozenset(use.value for use in each.usages), each.dns_names)
        for each in WANTED.leaves
    }
    assert ours == theirs


def test_rights_and_policy_name_the_same_secrets() -> None:
    of_keeper = {
        (each.object["kind"], each.object["metadata"]["name"]): each.object
        for each in written()
        if each.file.parent.name == "self-signed"
    }
    rules = of_keeper["Role", "kubesteer-keeper-certificates"]["rules"]
    [named] = [rule["resourceNames"] for rule in rules if rule["resources"] == ["secrets"] and "resourceNames" in rule]
    assert set(named) == NAMES
    expression = of_keeper["ValidatingAdmissionPolicy", "kubesteer-keeper-secrets"]["spec"]["validations"][0][
        "expression"
    ]
    assert set(re.findall(r'"(kubesteer-[\w-]+)"', expression)) == NAMES
    assert {*(resource for rule in rules for resource in rule["resources"])} == {"secrets"}


def test_an_authority_signs_and_nothing_else_and_the_next_one_has_another_name() -> None:
    one, two = (issue_authority("a", MAKER, now=NOW, lasts=DAY).certificate for _ in range(2))
    assert one.subject != two.subject
    limits = one.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.critical, limits.value.ca, limits.value.path_length) == (True, True, 0)
    usage = one.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)


def test_a_certificate_says_what_it_is_for_and_cannot_sign_another() -> None:
    signer = issue_authority("a", MAKER, now=NOW, lasts=100 * DAY)
    made = issue(
        signer,
        MAKER.key().public_key(),
        serial=7,
        common_name="b",
        usages=[Usage.SERVER],
        dns_names=["b.svc"],
        now=NOW,
        lasts=DAY,
    )
    assert (usages_of(made), dns_names_of(made)) == (frozenset({Usage.SERVER}), ("b.svc",))
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert made.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert made.not_valid_after_utc == NOW + DAY


def test_a_certificate_ends_with_its_authority_at_the_latest() -> None:
    signer = issue_authority("a", MAKER, now=NOW, lasts=DAY)
    made = issue(
        signer, MAKER.key().public_key(), serial=7, common_name="b", usages=[Usage.CLIENT], now=NOW, lasts=9 * DAY
    )
    assert made.not_valid_after_utc == NOW + DAY


@pytest.mark.parametrize(
    "folder", ["base/keeper", "components/self-signed", "components/node-certificates"], ids=lambda each: each
)
def test_the_keeper_takes_its_settings(folder: str) -> None:
    settings = keep_settings.load(MANIFESTS / folder / "settings.yaml")
    assert settings.certificates.make is not folder.startswith("base")
    assert settings.etcd.per_node is folder.endswith("node-certificates")
    assert settings.ops.port == 8891


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("etcd: {per_node: true}", "etcd.per_node needs certificates.make"),
        ("etcd: {prefx: /k}", "prefx"),
        ("certificates: {leaf_days: 0}", "certificates.leaf_days"),
        ("etcd: [", "expected"),
        ("- 1", "write groups of settings"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "keeper.yaml"
    file.write_text(text)
    with pytest.raises(InvalidSettings, match=re.escape(said)) as refused:
        keep_settings.load(file)
    assert str(file) in str(refused.value)


def test_the_documentation_has_every_setting() -> None:
    text = (ROOT / "docs/certificates.md").read_text()
    document = yaml.safe_load(text.split("## Settings")[1].split("```yaml\n")[1].split("```")[0])
    assert document == msgspec.to_builtins(keep_settings.KeeperSettings())
