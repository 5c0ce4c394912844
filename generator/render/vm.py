"""What the templates of the VM approach print, beside what all approaches share."""

from __future__ import annotations

from typing import Any

from generator.render.names import physical_name
from generator.spec.model import Spec
from generator.targets.vm import requests_per_5min

BOOT_S = 60
"""From the launch of an instance until systemd starts the app: kernel, network, cloud-init, secrets."""


def environment(name: str, spec: Spec) -> dict[str, Any]:
    """What an environment has of its own."""
    traffic = spec.traffic
    # As patient as elsewhere with a start, and the boot before it.
    start_s = BOOT_S + max(30, 3 * spec.health.start // 1000)
    return {
        "name": physical_name(spec.name, name, "vm", 32),  # the most that a load balancer may have
        "instance_type": spec.vm.instance_type,
        "host": traffic.hosts.get("vm"),
        "zone": traffic.zone if "vm" in traffic.hosts else None,
        "certificate_arn": traffic.certificate_arn if "vm" in traffic.hosts else None,
        "rate_limit_per_5min": requests_per_5min(traffic.rate_limit),
        "start_s": start_s,
        # A release watches the new ones, and the old ones drain, while nothing seems to happen.
        "patience_s": 2 * start_s + (spec.health.drain + spec.rollout.bake) // 1000 + 300,
        **_refresh(spec),
    }


def _refresh(spec: Spec) -> dict[str, Any]:
    """What AWS keeps to while it replaces instances, in percent of the wanted number.

    A number of copies becomes a share of the fewest that there are, so that even then one is replaced.
    """
    surge = _percent(spec.rollout.max_surge, spec.scale.min)
    missing = _percent(spec.rollout.max_unavailable, spec.scale.min)
    least = 100 - min(100, missing)
    return {
        "min_healthy_percent": least,
        # AWS takes at most 100 between the two.
        "max_healthy_percent": min(100 + surge, 200, 100 + least),
    }


def _percent(share: str, copies: int) -> int:
    return int(share[:-1]) if share.endswith("%") else -(-100 * int(share) // copies)
