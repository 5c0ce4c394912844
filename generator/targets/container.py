"""The container approach: an image, rolled by Kubernetes on EKS."""

from __future__ import annotations

from collections.abc import Iterator

from generator.spec.model import Spec
from generator.spec.rules import Broken
from generator.targets import common, nodes

_WIDEST = 8
"""The shortest prefix that the module takes."""


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
    yield from common.subnets(spec)
    yield from _nodes(spec)
    yield from _api(spec)


def _comes_with_clusters(spec: Spec) -> Iterator[Broken]:
    """Keys that shape what is in front of a cluster, which this version does not generate yet."""
    zone = spec.traffic.zone is not None and "container" in spec.traffic.hosts
    if zone:
        fix = "Set traffic.certificate_arn in its place, and make the DNS record yourself."
        yield _later(("traffic", "zone"), "traffic.zone is", fix)
    if spec.traffic.rate_limit is not None:
        yield _later(("traffic", "rate_limit"), "traffic.rate_limit is", "Remove it for now.")


def node_type(spec: Spec) -> str:
    """What managed nodes are."""
    return spec.container.node_type or nodes.DEFAULT["x86_64"]


def most_copies(spec: Spec) -> int:
    """How many copies there are at full scale while a release is rolled out."""
    most = spec.scale.max
    if spec.rollout.strategy != "rolling":
        return 2 * most
    surge = spec.rollout.max_surge
    # Kubernetes rounds a share of the copies up.
    return most + (-(-most * int(surge[:-1]) // 100) if surge.endswith("%") else int(surge))


def _nodes(spec: Spec) -> Iterator[Broken]:
    """A node type that holds no copy, or of which it is not known."""
    if spec.container.nodes != "managed" or spec.container.cluster:
        return
    chosen = node_type(spec)
    room = nodes.room(chosen)
    if chosen.endswith((".nano", ".micro")):
        yield Broken(
            "node-too-small",
            ("container", "node_type"),
            f"no copy fits on a {chosen}: what EKS runs on it takes all its pods",
            "Choose a larger type, such as t3.large.",
        )
    elif room is None:
        yield Broken(
            "unknown-node-type",
            ("container", "node_type"),
            f"gen does not know how many pods a {chosen} holds",
            "Choose a type of the families t3, t4g, c, m or r, up to 4xlarge, such as m7i.large; "
            "or set container.nodes to auto.",
        )
    elif not room.copies(spec.resources.cpu, spec.resources.memory):
        yield Broken(
            "node-too-small",
            ("container", "node_type"),
            f"no copy fits on a {chosen}: what EKS runs on it leaves {max(0, room.pods)} pods, "
            f"{max(0, room.cpu)}m CPU and {max(0, room.memory) // nodes.MIB} MiB",
            "Choose a larger type.",
            (("resources", "cpu"), ("resources", "memory")),
        )


def _api(spec: Spec) -> Iterator[Broken]:
    """Networks that may call the API, of a cluster that is not made here, or all of the internet."""
    for cidr in spec.container.api_cidrs:
        if spec.container.cluster:
            yield Broken(
                "cluster-is-yours",
                ("container", "api_cidrs"),
                f"the cluster {spec.container.cluster} exists: who may reach its API is said there",
                "Remove api_cidrs, or cluster to have one made.",
                (("container", "cluster"),),
            )
            return
        if int(cidr.rpartition("/")[2]) < _WIDEST:
            yield Broken(
                "api-open",
                ("container", "api_cidrs"),
                f"{cidr} would let a large part of the internet call the cluster's API",
                f"Name the networks of your offices or CI, none wider than a /{_WIDEST}.",
            )


def _later(path: tuple[str, ...], what: str, fix: str) -> Broken:
    return Broken(
        "not-available-yet",
        path,
        f"{what} not available for container in this version of gen",
        fix,
        detail="Nothing in a spec is ignored, so a setting that would have no effect is refused.",
    )
