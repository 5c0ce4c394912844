"""The server approach: a fixed set of servers, updated in place by Ansible behind nginx."""

from __future__ import annotations

from collections.abc import Iterator

from generator.spec.model import Spec
from generator.spec.rules import Broken
from generator.targets import common

MOST_PROCESSES = 64
"""How many processes a server runs at most; each has a port of its own, from `http.port` on."""

NGINX_STATUS = "/nginx_status"


def rules(spec: Spec) -> Iterator[Broken]:
    """What this approach cannot do with a spec."""
    yield from common.names(spec)
    yield from common.runtime(spec, spec.server.os, ("server", "os"))
    yield from common.subnets(spec)
    yield from _rollout(spec)
    yield from _traffic(spec)
    if spec.health.ready == NGINX_STATUS:
        yield Broken(
            "reserved-path",
            ("health", "ready"),
            f"health.ready cannot be {NGINX_STATUS}, where nginx tells of itself",
            "Choose another path, such as /readyz.",
        )
    last = 65535 - MOST_PROCESSES + 1
    if spec.http.port > last:
        yield Broken(
            "port-out-of-range",
            ("http", "port"),
            f"http.port {spec.http.port} leaves no room for the processes of a server",
            f"Choose a port from 1024 to {last}.",
            detail=f"A server runs a process per core, each on the next port, at most {MOST_PROCESSES}.",
        )


def _rollout(spec: Spec) -> Iterator[Broken]:
    if spec.rollout.strategy == "blue_green":
        yield Broken(
            "strategy-not-offered",
            ("rollout", "strategy"),
            "server cannot do blue_green: it updates the servers that are there, and has no second set",
            "Choose rolling or canary.",
            (("targets",),),
        )


def _traffic(spec: Spec) -> Iterator[Broken]:
    """Settings that mean nothing to servers, where no other target takes them either."""
    others = not spec.targets or set(spec.targets) - {"server"}
    if spec.traffic.zone is not None and not others:
        yield Broken(
            "not-available-yet",
            ("traffic", "zone"),
            "traffic.zone is not available for server in this version of gen",
            "Remove it for now.",
            detail="Nothing in a spec is ignored, so a setting that would have no effect is refused.",
        )
    if spec.traffic.certificate_arn and not others:
        yield Broken(
            "no-effect",
            ("traffic", "certificate_arn"),
            "nginx cannot use a certificate of ACM, whose key never leaves AWS",
            "Remove traffic.certificate_arn; certificate and key are variables of the role nginx.",
            (("targets",),),
        )
    if spec.state is not None and not others:
        yield Broken(
            "no-effect",
            ("state",),
            "state is for OpenTofu, which server does not use",
            "Remove it.",
            (("targets",),),
        )
