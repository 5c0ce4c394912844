"""What several approaches refuse, in the same words: a problem that two of them have is told once."""

from __future__ import annotations

from collections.abc import Iterator

from generator import facts
from generator.spec.model import Spec
from generator.spec.parse import Path
from generator.spec.rules import Broken

SYSTEMS = {"amazon_linux": "Amazon Linux 2023", "debian": "Debian 13"}


def runtime(spec: Spec, system: str, chosen_by: Path) -> Iterator[Broken]:
    """A line of the language that an operating system does not have; a key has chosen the system."""
    language, version = spec.runtime.language, spec.runtime.version
    lines = facts.packaged(language, system)
    known = [line.version for line in facts.product(language).lines]
    if version in known and version not in lines:
        yield Broken(
            "runtime-not-offered",
            ("runtime", "version"),
            f"{SYSTEMS[system]} has no {facts.TITLES[language]} {version}",
            f"Choose {' or '.join(lines)}, or another {'.'.join(map(str, chosen_by))}.",
            (chosen_by,),
        )


def certificate(spec: Spec) -> Iterator[Broken]:
    """A certificate that a load balancer cannot use."""
    arn = spec.traffic.certificate_arn
    if arn and arn.split(":")[3] != spec.region:
        yield Broken(
            "certificate-elsewhere",
            ("traffic", "certificate_arn"),
            f"the certificate is in {arn.split(':')[3]}, the app in {spec.region}",
            f"Use a certificate of {spec.region}: a balancer takes those of its own region only.",
            (("region",),),
        )


def subnets(spec: Spec) -> Iterator[Broken]:
    """A public balancer in a network without public subnets."""
    network = spec.network
    if network and spec.traffic.public and not network.public_subnets:
        yield Broken(
            "no-public-subnets",
            ("network",),
            "network has no public_subnets, where a balancer that the internet reaches would be",
            "Add network.public_subnets, or set traffic.public to false.",
            (("traffic", "public"),),
        )
