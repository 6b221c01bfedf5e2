"""The flags of `kubesteer config make`, how they become answers and back, and the questions where there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Literal

from cyclopts import Parameter

from kubesteer.model.errors import InvalidInput

_Flag = Parameter(negative="")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class MakeOptions:
    """What is on the command line; None and False where nothing is."""

    url: Annotated[str | None, Parameter(help="Where the scheduler reaches kubesteer; http://127.0.0.1:8888.")] = None
    ca_file: Annotated[
        str | None, Parameter(help="CA of kubesteer's certificate, as the scheduler finds it; needed for https.")
    ] = None
    client_cert: Annotated[str | None, Parameter(help="The scheduler's own certificate, for mutual TLS.")] = None
    client_key: Annotated[str | None, Parameter(help="Its key.")] = None
    pods: Annotated[
        Literal["all", "slo"] | None, Parameter(help="Which pods come: all, or those that ask for --resources only.")
    ] = None
    resources: Annotated[
        str | None, Parameter(help="Extended resources, name[,name..]; all that kubesteer's settings count.")
    ] = None
    shortlist: Annotated[
        int | None, Parameter(help="As filter.shortlist in kubesteer's settings; with 1 no scores are asked for.")
    ] = None
    weight: Annotated[
        str | None, Parameter(help="kubesteer's part of the score, at least: half (the default), 60% or 0.6.")
    ] = None
    scheduler_name: Annotated[
        str | None, Parameter(help="Name of a second scheduler, which pods choose; without it the cluster's own.")
    ] = None
    kubeconfig: Annotated[
        str | None,
        Parameter(
            help="The scheduler's kubeconfig, as it finds it; kubeadm's /etc/kubernetes/scheduler.conf, or none with"
            " --scheduler-name. - for none: a scheduler in a pod with a ServiceAccount."
        ),
    ] = None
    pin_weights: Annotated[
        bool, _Flag, Parameter(help="Write the other Score plugins' weights down, so that no upgrade moves the share.")
    ] = False
    fail_safe: Annotated[
        bool, _Flag, Parameter(help="While kubesteer is away its pods wait (with --pods slo), instead of being placed.")
    ] = False
    minor: Annotated[str | None, Parameter(help="The scheduler's version, such as 1.37.")] = None

    def words(self) -> list[str]:
        """The command line that says the same."""
        said: list[str] = []
        for each in fields(self):
            value, flag = getattr(self, each.name), f"--{each.name.replace('_', '-')}"
            if value is True:
                said.append(flag)
            elif value not in {None, False}:
                said += [flag, str(value)]
        return said


def asked(question: Callable[[str, str], str]) -> MakeOptions:
    """The options by asking. question: text and default in, answer out. Raises InvalidInput."""
    from kubesteer.schedulerconfig.making import KUBEADM, NO_KUBECONFIG  # noqa: PLC0415

    url = question("Where does the scheduler reach kubesteer?", "http://127.0.0.1:8888")
    ca_file = cert = key = None
    if url.startswith("https://"):
        ca_file = question("CA file of kubesteer's certificate, as the scheduler finds it?", "/etc/kubesteer/ca.crt")
        cert = question("The scheduler's own certificate file, for mutual TLS (- for none)?", "/etc/kubesteer/tls.crt")
        key = question("Its key file?", "/etc/kubesteer/tls.key") if cert != "-" else None
    pods = question("Which pods go through kubesteer: all, or slo (only those that ask for bandwidth)?", "all")
    if pods not in {"all", "slo"}:
        raise InvalidInput(f"pods {pods!r}: answer all or slo")
    weight = question("How much of the score is kubesteer's, at least: half, 60% ..?", "half")
    name = question("schedulerName of a second scheduler (- for the cluster's own)?", "-")
    kubeconfig = question(
        "The scheduler's kubeconfig, as it finds it (- for one in a pod with a ServiceAccount)?",
        KUBEADM if name == "-" else NO_KUBECONFIG,
    )
    minor = question("The scheduler's version?", "1.37")
    return MakeOptions(
        url=url,
        ca_file=ca_file,
        client_cert=None if cert == "-" else cert,
        client_key=key,
        pods="slo" if pods == "slo" else "all",
        weight=weight,
        scheduler_name=None if name == "-" else name,
        kubeconfig=kubeconfig,
        minor=minor,
    )
