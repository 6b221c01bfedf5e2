"""Settings of etcd are checked before anything is opened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kubesteer.cli.rewards_options import StoreOptions
from kubesteer.clients.rewards import etcd3_import
from kubesteer.clients.rewards.etcd3_backend import etcd3_source
from kubesteer.clients.rewards.etcd_options import EtcdOptions, channel_options, chosen_etcd
from kubesteer.model.errors import InvalidSettings
from kubesteer.rewards.table import RewardTable

HERE = {"endpoints": ("etcd-0:2379",)}
FILE = Path("some.pem")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"endpoints": ()}, "endpoints is empty"),
        ({"endpoints": ("etcd",)}, "'etcd' is not host:port"),
        ({"endpoints": ("etcd:70000",)}, "'etcd:70000' is not host:port"),
        ({"endpoints": (":2379",)}, "':2379' is not host:port"),
        ({"endpoints": ("https://a:1", "b:2")}, "mix https://"),
        ({"endpoints": ("http://a:1",), "ca_file": FILE}, "write https://"),
        ({"cert_file": FILE}, "cert_file and key_file"),
        ({"server_name": "etcd"}, "server_name 'etcd' is for TLS"),
        ({"user": "agent"}, "user and password"),
        ({"page_size": 0}, "page_size 0"),
        ({"heartbeat_s": float("nan")}, "heartbeat_s nan"),
        ({"backoff_first_s": 9.0, "backoff_longest_s": 5.0}, "backoff_first_s 9.0"),
    ],
)
def test_settings_that_cannot_work_are_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidSettings, match=said):
        EtcdOptions(**{**HERE, **changes})


@pytest.mark.parametrize(
    ("changes", "tls"),
    [
        ({}, False),
        ({"endpoints": ("http://etcd-0:2379",)}, False),
        ({"endpoints": ("https://etcd-0:2379/",)}, True),
        ({"ca_file": FILE}, True),
        ({"cert_file": FILE, "key_file": FILE}, True),
    ],
)
def test_tls_follows_from_the_scheme_or_a_file(changes: dict[str, object], tls: bool) -> None:
    options = EtcdOptions(**{**HERE, **changes})
    assert (options.tls, options.addresses) == (tls, ("etcd-0:2379",))


def test_a_password_is_not_shown() -> None:
    assert "hush" not in repr(EtcdOptions(**HERE, user="agent", password="hush"))


def test_a_password_is_read_from_its_file_without_the_space_around_it(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" hush\n", encoding="utf-8")
    choice = StoreOptions(user="agent", password_file=tmp_path / "password")
    options = chosen_etcd(choice, section="", endpoints=["etcd-0:2379"], prefix="/k")
    assert (options.user, options.password, options.endpoints, options.prefix) == (
        "agent", "hush", ("etcd-0:2379",), "/k"
    )  # fmt: skip


@pytest.mark.parametrize("field", ["password_file", "ca_file", "cert_file", "key_file"])
def test_a_file_that_cannot_be_read_is_named_with_its_field(tmp_path: Path, field: str) -> None:
    choice = StoreOptions(**{field: tmp_path / "absent"})
    with pytest.raises(InvalidSettings, match=rf"^store\.{field}: .*absent'; name a file that can be read"):
        chosen_etcd(choice, section="store.", endpoints=["etcd-0:2379"], prefix="/k")


def test_every_channel_has_the_options_that_the_known_faults_ask_for() -> None:
    options = dict(channel_options(EtcdOptions(**HERE)))
    assert options["grpc.max_receive_message_length"] == -1
    assert options["grpc.http2.ping_timeout_ms"] == 5000
    assert options["grpc.keepalive_time_ms"] == 10_000


def test_the_etcd3_back_end_without_its_package_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "etcd3", raising=False)
    monkeypatch.setattr(etcd3_import.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidSettings, match=r"kubesteer\[etcd3\]"):
        etcd3_source(EtcdOptions(**HERE), RewardTable())


def test_an_etcd3_package_of_another_shape_is_named(tmp_path: Path) -> None:
    other = tmp_path / "kv_pb2.py"
    other.write_text("DESCRIPTOR = None\n", encoding="utf-8")
    with pytest.raises(InvalidSettings, match=r"install etcd3==0\.12\.0"):
        etcd3_import._serialized_descriptor(other)


def test_the_etcd3_back_end_asks_for_the_ca_file_that_its_client_cannot_do_without() -> None:
    with pytest.raises(InvalidSettings, match="ca_file is not set"):
        etcd3_source(EtcdOptions(endpoints=("https://etcd-0:2379",)), RewardTable())


@pytest.mark.parametrize(
    "imports",
    [
        pytest.param("import aetcd.rpc; etcd3 = import_etcd3()", id="aetcd first"),
        pytest.param("etcd3 = import_etcd3(); import aetcd.rpc", id="etcd3 first"),
    ],
)
def test_both_message_packages_live_in_one_process_on_todays_protobuf(imports: str) -> None:
    code = (
        "from kubesteer.clients.rewards.etcd3_import import import_etcd3\n"
        f"{imports}\n"
        "theirs = etcd3.etcdrpc.RangeRequest(key=b'k', limit=3).SerializeToString()\n"
        "assert aetcd.rpc.RangeRequest.FromString(theirs).limit == 3\n"
        "assert import_etcd3() is etcd3\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_etcd_back_end_does_not_load_the_etcd3_package() -> None:
    code = (
        "import sys, kubesteer.clients.rewards.etcd, kubesteer.clients.rewards.etcd3_backend\n"
        "assert 'etcd3' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
