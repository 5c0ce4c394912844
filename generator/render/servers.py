"""What the templates of the server approach print, beside what all approaches share."""

from __future__ import annotations

from typing import Any

from generator.render.names import physical_name
from generator.spec.model import Network, Spec
from generator.spec.rules import architecture
from generator.targets import Resolved
from generator.targets.common import SYSTEMS
from generator.targets.server import MOST_PROCESSES

MIB = 2**20

_USERS = {"amazon_linux": "ec2-user", "debian": "admin"}
"""Who may log in on a new instance of the official images."""

_IMAGES = {
    "amazon_linux": {
        "x86_64": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
        "arm64": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
    },
    "debian": {
        "x86_64": "/aws/service/debian/release/13/latest/amd64",
        "arm64": "/aws/service/debian/release/13/latest/arm64",
    },
}
"""Public parameters of the SSM Parameter Store that hold the id of the newest image."""

RATE_BURST_S = 2
"""For how many seconds a client may exceed its rate before it is told to wait."""


def common(spec: Spec, resolved: Resolved) -> dict[str, Any]:
    """What holds for all environments."""
    # Images are made from the same archive; where there are both, they have one architecture.
    processor = (
        architecture(spec.server.instance_type)
        if "server" in resolved.targets
        else spec.vm.architecture
    )
    return {
        "runtime_role": f"{spec.runtime.language}_app",
        "runtime_version": resolved.release,
        "last_port": spec.http.port + MOST_PROCESSES - 1,
        "most_processes": MOST_PROCESSES,
        # What the archive is packed for, as npm and as wheels call it.
        "npm_cpu": "arm64" if processor == "arm64" else "x64",
        "wheel_cpu": "aarch64" if processor == "arm64" else "x86_64",
        # systemd kills what is still there; the app has its whole budget before.
        "stop_s": spec.health.drain // 1000 + 5,
    }


def environment(name: str, spec: Spec) -> dict[str, Any]:
    """What an environment has of its own."""
    server, traffic = spec.server, spec.traffic
    processor = architecture(server.instance_type)
    return {
        "os": server.os,
        "os_title": SYSTEMS[server.os],
        "user": _USERS[server.os],
        "instance_type": server.instance_type,
        "ec2_architecture": processor,
        # As the kernel calls it, and Ansible after it.
        "architecture": "aarch64" if processor == "arm64" else processor,
        "ami_parameter": _IMAGES[server.os][processor],
        "count": spec.scale.min,
        "prefix": physical_name(spec.name, name, "srv", 48),
        "host": traffic.hosts.get("server"),
        "rate_limit": _rate_limit(traffic.rate_limit),
        "balance": "least_conn" if traffic.balance == "least_connections" else "round_robin",
        "batches": _batches(spec),
        "canary": spec.rollout.strategy == "canary",
        "memory_mib": max(1, spec.resources.memory // MIB),
        "cpu": -(-spec.resources.cpu // 1000),
    }


def _rate_limit(rate: str | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    number, _, unit = rate.partition("/")
    per_second = int(number) if unit == "s" else -(-int(number) // 60)
    return {"rate": f"{number}r/{unit}", "burst": max(1, RATE_BURST_S * per_second)}


def network(existing: Network | None) -> dict[str, Any] | None:
    """An existing network, or none."""
    if existing is None:
        return None
    return {
        "vpc_id": existing.vpc_id,
        "private_subnets": list(existing.private_subnets),
        "public_subnets": list(existing.public_subnets),
    }


def _batches(spec: Spec) -> list[int | str]:
    """How many servers are updated at a time: one first, then as many as may be missing.

    A server that is updated in place serves nobody meanwhile, so one is always missing.
    """
    share = spec.rollout.max_unavailable
    if share.endswith("%"):
        return [1] if share == "0%" else [1, share]
    return [1] if int(share) <= 1 else [1, int(share)]
