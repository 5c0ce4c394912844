"""The VM approach: an immutable image, rolled through an auto scaling group."""

from __future__ import annotations

from collections.abc import Iterator

from generator.spec.model import Spec
from generator.spec.rules import Broken, architecture
from generator.targets import common

SYSTEM = "amazon_linux"
"""What images are made of."""

CONFIG_LIMIT = 10_000
"""How many bytes of config fit into user data: 16 KiB in all, of which Base64 takes a quarter."""

_LEAST_REQUESTS = 10
"""AWS WAF counts requests of five minutes, and takes no lower limit."""


def requests_per_5min(rate: str | None) -> int | None:
    """A rate of the spec, as AWS WAF counts."""
    if rate is None:
        return None
    number, _, unit = rate.partition("/")
    return int(number) * (300 if unit == "s" else 5)


def rules(spec: Spec) -> Iterator[Broken]:
    """What this approach cannot do with a spec."""
    yield from common.names(spec)
    yield from common.runtime(spec, SYSTEM, ("targets",))
    yield from common.certificate(spec)
    yield from common.subnets(spec)
    yield from common.stops_service(spec, ("rolling", "canary"))
    yield from _config(spec)
    yield from _rate(spec)
    others = not spec.targets or "all" in spec.targets or "server" in spec.targets
    if others and architecture(spec.server.instance_type) != spec.vm.architecture:
        yield Broken(
            "architecture-mismatch",
            ("vm", "architecture"),
            f"images are {spec.vm.architecture}, servers ({spec.server.instance_type}) are not",
            "Choose instance types of one architecture for server and vm.",
            (("server", "instance_type"),),
            detail="Both run the same archive of the app, whose libraries are for one architecture.",
        )


def _config(spec: Spec) -> Iterator[Broken]:
    size = sum(len(f'{name}="{value}"\n'.encode()) for name, value in spec.config.items())
    size += sum(value.count(c) for value in spec.config.values() for c in '\\"`$')
    if size > CONFIG_LIMIT:
        yield Broken(
            "config-too-large",
            ("config",),
            f"config takes {size:,} bytes, and the user data of an instance holds {CONFIG_LIMIT:,}",
            "Ship large values as files of the app.",
            (("targets",),),
        )


def _rate(spec: Spec) -> Iterator[Broken]:
    requests = requests_per_5min(spec.traffic.rate_limit)
    if requests is not None and requests < _LEAST_REQUESTS:
        yield Broken(
            "rate-too-low",
            ("traffic", "rate_limit"),
            f"AWS WAF cannot hold a client to {spec.traffic.rate_limit}",
            "Choose 2/m or more.",
            (("targets",),),
        )
