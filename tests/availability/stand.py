"""A whole installation as processes, each with the settings and rights that manifests/ gives it.

A real control plane; two extenders under their ServiceAccount's token, behind one balancer for the verbs; three members
of etcd behind another; the API server behind a third, for the extenders alone; the second scheduler under its account.
Not as in the manifests: addresses, a scheduler that may ask the API server more often, and no authentication of ops.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc
import yaml

from kubesteer.model.reward import RewardRecord, encode_key, encode_value, table_range
from tests.availability.balancer import Backend, Balancer
from tests.availability.ledger import Ledger
from tests.availability.load import Load
from tests.availability.members import READY_PATH, Members
from tests.background import Background
from tests.e2e.scenario import EGRESS, grant, quantity, token
from tests.manifests.certificates import issue_secrets
from tests.manifests.written import MANIFESTS
from tools.cluster import commands
from tools.cluster.bundles import CONTROL_PLANE
from tools.cluster.controlplane import ControlPlane
from tools.cluster.extender import Extender
from tools.cluster.objects import node
from tools.cluster.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from tools.cluster.build import Binaries

REPLICAS = 2
SERVICE = "kubesteer-extender.kubesteer.svc"
SCHEDULER = "kubesteer-scheduler"
PREFIX = "/kubesteer"
EGRESS_CAPACITY = "500M"
RELOAD_S = 1.0
READY_WITHIN_S = 60.0
NICENESS = -10
TAKEN_UP_S = 1.5
"""By then the balancer sends connections to a replica that is ready."""
LOST = {
    "filter": "Skipping extender as it returned error",
    "prioritize": "Failed to run extender's priority function",
}
"""What kube-scheduler writes when a call of an ignorable extender went wrong."""
TIMED_OUT = "timed out"
_TOO_LATE = re.compile("Client.Timeout|deadline exceeded")


class Stand:
    """Use it in a `with`. `nodes` carry 500 Mbit/s each; `drain_s` is for those in a hurry."""

    def __init__(self, binaries: Binaries, *, nodes: int, drain_s: float | None = None) -> None:
        self._binaries = binaries
        self._drain_s = drain_s
        self.names = [f"n{number:03}" for number in range(nodes)]
        self.plane = ControlPlane(binaries, load_test=True)
        self.replicas: list[Extender] = []
        """Those that serve; during a roll-out there is one more."""
        self._counted: dict[str, int] = dict.fromkeys((*LOST, TIMED_OUT), 0)
        self._read_to = 0
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.plane)
            self.folder = self.plane.layout.directory / "stand"
            self.folder.mkdir()
            self._make_secrets()
            grant(self.plane, "overlays/second-scheduler")
            capacity = {EGRESS: EGRESS_CAPACITY}
            self.plane.client.create_all(
                node(name, cpu="32", memory="128Gi", resources=capacity) for name in self.names
            )
            self.members = stack.enter_context(
                Members(self._binaries.path("etcd"), self.secrets, self._subfolder("etcd"))
            )
            stored = [Backend(*ports) for ports in zip(self.members.ports, self.members.metrics_ports, strict=True)]
            self.to_etcd = stack.enter_context(Balancer(self.folder, "to-etcd", stored, check_path=READY_PATH))
            api = [Backend(self.plane.layout.api_port)]
            self.to_api_server = stack.enter_context(Balancer(self.folder, "to-api-server", api))
            self.rewards = stack.enter_context(Rewards(self.members, self.names))
            self._seats = [Extender(self._settings()) for _ in range(REPLICAS + 1)]
            for seat in self._seats:
                stack.callback(seat._guard.end)
            for seat in self._seats[:REPLICAS]:
                self.start(seat)
                self.replicas.append(seat)
            served = [Backend(seat.port, seat.ops_port) for seat in self._seats]
            sticky = _service()["spec"].get("sessionAffinity") == "ClientIP"
            self.to_extenders = stack.enter_context(
                Balancer(self.folder, "to-extenders", served, check_path=READY_PATH, sticky=sticky)
            )
            self.start_scheduler()
            self.ledger = Ledger(dict.fromkeys(self.names, quantity(EGRESS_CAPACITY)))
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.__exit__(kind, error, trace)

    def load(self, *, waiting: int, full: float) -> Load:
        return Load(self.plane.kubeconfig, self.ledger, waiting=waiting, full=full)

    def start_scheduler(self, **entry: Any) -> None:
        """The second scheduler, which tells also of scores that it did not get. entry: fields of its extender's entry."""
        file = self.folder / f"{SCHEDULER}.json"
        config = self._scheduler_config(entry)
        file.write_text(json.dumps(commands.scheduler_configuration(config, self.plane.layout)))
        [port] = free_ports(1)
        program = self._binaries.path("kube-scheduler", bundle=CONTROL_PLANE.name)
        command = [*commands.scheduler(program, file, port), "--vmodule=schedule_one=5"]
        self.plane.launch_serving(SCHEDULER, command, f"https://127.0.0.1:{port}")

    def scheduler_runs(self) -> bool:
        """It ends by itself when it cannot renew its lease for long."""
        return self.plane.parts[SCHEDULER].process.running

    def lost_calls(self) -> dict[str, int]:
        """Calls by verb that the scheduler had no answer to, since it started; and how many of them it gave up."""
        with self.plane.layout.log(SCHEDULER).open("rb") as log:
            log.seek(self._read_to)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            for verb in (verb for verb, words in LOST.items() if words in line):
                self._counted[verb] += 1
                self._counted[TIMED_OUT] += _TOO_LATE.search(line) is not None
        return dict(self._counted)

    def metric(self, name: str) -> float:
        """The highest of the replicas."""
        return max(replica.metric(name) for replica in self.replicas)

    def start(self, seat: Extender, *, wait_ready: bool = True) -> None:
        """Start a replica. It goes before the load, as on a node of its own; a user other than root cannot give that."""
        seat.start(wait_ready=False)
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, seat.process.pid, NICENESS)
        if wait_ready:
            seat.process.wait_until(seat.is_ready, within_s=READY_WITHIN_S)

    def replace(self, old: Extender) -> None:
        """As a Deployment does: one more starts; once it is ready, the old one is asked to end."""
        [new] = [seat for seat in self._seats if seat not in self.replicas]
        self.start(new)
        self.replicas.append(new)
        time.sleep(TAKEN_UP_S)
        old.process.stop(within_s=60.0)
        self.replicas.remove(old)

    def passing(self, replica: Extender, asked_bps: int) -> set[str]:
        """The nodes that this replica lets a pod with so much SLO go to, by a call as the scheduler makes it."""
        asks: dict[str, Any] = {
            "metadata": {"name": "asks", "namespace": "default", "uid": "asks"},
            "spec": {"containers": []},
        }
        asks["spec"]["containers"] = [{"name": "c", "resources": {"requests": {EGRESS: str(asked_bps)}}}]
        body = json.dumps({"Pod": asks, "Nodes": None, "NodeNames": self.names})
        client = self.secrets / "kubesteer-scheduler-client"
        context = ssl.create_default_context(cafile=str(client / "ca.crt"))
        context.check_hostname = False
        context.load_cert_chain(client / "tls.crt", client / "tls.key")
        connection = http.client.HTTPSConnection("127.0.0.1", replica.port, timeout=10, context=context)
        try:
            connection.request("POST", "/filter", body, {"Content-Type": "application/json"})
            return set(json.load(connection.getresponse())["NodeNames"] or ())
        finally:
            connection.close()

    def put_secret(self, name: str, files: Mapping[str, bytes]) -> None:
        """Change files of a Secret where it is mounted, each at once."""
        for file, content in files.items():
            new = self.secrets / name / f".{file}"
            new.write_bytes(content)
            new.replace(self.secrets / name / file)

    def _make_secrets(self) -> None:
        """Two whole sets. The scheduler trusts both authorities: it reads that file only when it starts."""
        self.secrets, self.next_secrets = self._subfolder("secrets"), self._subfolder("next-secrets")
        for folder in (self.secrets, self.next_secrets):
            issue_secrets(folder, addresses=["127.0.0.1"])
        client = "kubesteer-scheduler-client/ca.crt"
        both = (self.secrets / client).read_bytes() + (self.next_secrets / client).read_bytes()
        self.put_secret("kubesteer-scheduler-client", {"ca.crt": both})

    def _settings(self) -> dict[str, Any]:
        """The ConfigMap's, with this machine's addresses and paths."""
        text = (MANIFESTS / "base/extender/settings.yaml").read_text()
        for mounted in ("server", "etcd"):
            text = text.replace(f"/etc/kubesteer/{mounted}", f"{self.secrets}/kubesteer-extender-{mounted}")
        settings: dict[str, Any] = yaml.safe_load(text)
        settings["listen"].pop("host")
        if self._drain_s is not None:
            settings["listen"]["drain_s"] = self._drain_s
        settings.pop("ops")
        config = commands.kubeconfig(self.plane.layout, token(self.plane.client, "kubesteer-extender"))
        config["clusters"][0]["cluster"]["server"] = f"https://{self.to_api_server.address}"
        file = self.folder / "extender.kubeconfig"
        file.write_text(json.dumps(config))
        settings["cluster"]["kubeconfig"] = str(file)
        settings["rewards"]["endpoints"] = [self.to_etcd.address]
        settings["tls"]["reload_s"] = RELOAD_S
        return settings

    def _scheduler_config(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """The ConfigMap's, likewise. The certificate is for the Service's name, as there."""
        text = (MANIFESTS / "components/second-scheduler/config.yaml").read_text()
        config: dict[str, Any] = yaml.safe_load(
            text.replace("/etc/kubesteer/tls", str(self.secrets / "kubesteer-scheduler-client"))
        )
        [entry] = config["extenders"]
        entry["urlPrefix"] = entry["urlPrefix"].replace(f"{SERVICE}:8888", self.to_extenders.address)
        entry["tlsConfig"]["serverName"] = SERVICE
        entry |= changes
        account = self.plane.kubeconfig_for(token(self.plane.client, SCHEDULER), SCHEDULER)
        config["clientConnection"] = {"kubeconfig": str(account)}
        return config

    def _subfolder(self, name: str) -> Path:
        folder = self.folder / name
        folder.mkdir()
        return folder


class Rewards(Background):
    """An agent's part: a reward for one more pair each quarter of a second, each again until etcd has it."""

    def __init__(self, members: Members, names: list[str]) -> None:
        super().__init__()
        self.stored = 0
        self.span = table_range(PREFIX)
        self._members = members
        self._names = names

    def _act(self) -> None:
        for name, pod_type in self._pairs():
            record = RewardRecord(name, pod_type, 0.5, 3.0, time.time())
            while not self._over.wait(0.25):
                try:
                    self._members.put(encode_key(PREFIX, name, pod_type), encode_value(record))
                except grpc.RpcError:
                    continue
                self.stored += 1
                break
            if self._over.is_set():
                return

    def _pairs(self) -> Iterator[tuple[str, str]]:
        serial = 0
        while True:
            for name in self._names:
                yield name, f"t{serial}"
            serial += 1


def _service() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((MANIFESTS / "base/extender/service.yaml").read_text())
    return service
