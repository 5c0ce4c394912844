"""The seams of clusters: what their stacks say, and what the spec and the manifests do."""

from __future__ import annotations

from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.stacks import Kind, Seam, holds, least
from generator.render.context import Context


def _seams(_: Context, environment: Context) -> Iterator[Seam]:
    eks, nodes = "module eks", environment["nodes"]
    yield Seam("X-10", eks, "name", environment["cluster"], "name")
    yield Seam("X-10", eks, "region", environment["region"], "region")
    yield Seam("X-10", eks, "namespace", environment["namespace"], "name")
    version = environment["kubernetes"]
    yield Seam("X-12", eks, "kubernetes_version", version, "container.kubernetes")
    kind = "managed" if nodes else "auto"
    yield Seam("X-12", eks, "nodes", kind, "container.nodes")
    cidrs = environment["api_cidrs"]
    yield Seam("access", eks, "api_cidrs", cidrs or None, "container.api_cidrs", _only, "only ")
    if nodes:
        types = [nodes["type"]]
        yield Seam("X-12", eks, "instance_types", types, "container.node_type")
        yield Seam("X-12", eks, "architecture", nodes["architecture"], "container.node_type")
        for size in ("desired_size", "max_size"):
            yield Seam("X-17", eks, size, nodes["count"], "scale.max", least, "at least ")
        most = environment["most_copies"]
        yield Seam("X-17", eks, "pods_needed", most, "scale.max", least, "at least ")


def _only(found: object, expected: object) -> bool:
    return holds(expected, found)


STACKS = Kind("container", "eks", _seams)


def identity(subject: Subject) -> Iterator[Finding]:
    """X-13: The role that reads the secrets is that of the app's pods."""
    for environment, stack in STACKS.each(subject):
        if not environment["secrets"]:
            continue
        found = stack.get("module eks", "workloads")
        workloads = found.value.values() if found and isinstance(found.value, dict) else ()
        place = (environment["namespace"], subject.context["name"])
        if place not in [(one.get("namespace"), one.get("service_account")) for one in workloads]:
            yield Finding(
                "X-13",
                stack.file,
                found.line if found else stack.line("module eks"),
                f"no workload is for the service account {place[1]} in {place[0]}, "
                "whose pods read the secrets",
                "Add it to workloads, or update.",
                "secrets",
            )


CHECKS = (
    Check("syntax", "every stack of clusters can be read", STACKS.syntax),
    Check("X-10", "clusters are of their environment, account and region", STACKS.of("X-10")),
    Check("X-12", "clusters are of the kind that the spec says", STACKS.of("X-12")),
    Check("X-13", "the role that reads secrets is that of the pods", identity),
    Check("X-14", "the same tags on every cluster", STACKS.of("X-14")),
    Check("X-17", "nodes hold the copies and what EKS runs", STACKS.of("X-17")),
    Check("access", "a cluster's API answers whom the spec says", STACKS.of("access")),
)
