"""The container approach: an image, rolled by Kubernetes on EKS."""

from __future__ import annotations

from collections.abc import Iterator

from generator.spec.model import Spec
from generator.spec.rules import Broken
from generator.targets import common


def rules(spec: Spec) -> Iterator[Broken]:
    """What this approach cannot do with a spec."""
    yield from _comes_with_clusters(spec)
    for name in spec.config:
        if name.lower() in ("true", "false", "null"):
            yield Broken(
                "reserved-variable",
                ("config", name),
                f"kustomize takes no variable named {name}",
                f"Choose another name, such as APP_{name}.",
            )
    yield from common.stops_service(spec, ("rolling",))
    yield from common.certificate(spec)


def _comes_with_clusters(spec: Spec) -> Iterator[Broken]:
    """Keys that shape infrastructure which this version does not generate yet."""
    set_keys = (
        (("network",), spec.network is not None),
        (("container", "node_type"), spec.container.node_type is not None),
        (("container", "api_cidrs"), bool(spec.container.api_cidrs)),
        (("traffic", "zone"), spec.traffic.zone is not None),
        (("traffic", "rate_limit"), spec.traffic.rate_limit is not None),
    )
    for path, is_set in set_keys:
        if is_set:
            yield _later(path, f"{'.'.join(path)} is", "Remove it for now.")


def _later(path: tuple[str, ...], what: str, fix: str) -> Broken:
    return Broken(
        "not-available-yet",
        path,
        f"{what} not available for container in this version of gen",
        fix,
        detail="Nothing in a spec is ignored, so a setting that would have no effect is refused.",
    )
