"""The seams of scale: numbers of copies, room to replace and to evict them, what each one gets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Value
from generator.check.reading import (
    Path,
    container,
    layered,
    made,
    place,
    same,
    values,
)
from generator.render.context import Context

_STRATEGY: Path = ("spec", "strategy", "rollingUpdate")


def replicas(subject: Subject) -> Iterator[Finding]:
    """X-11: The autoscaler has the bounds of the spec, and owns the number."""
    cpu = ("spec", "metrics", "*", "resource", "target", "averageUtilization")
    for environment in made(subject):
        scale = environment["scale"]
        for key, field in (("minReplicas", "min"), ("maxReplicas", "max")):
            where = place(subject, environment, "HorizontalPodAutoscaler", "spec", key)
            found = layered(subject, environment, "HorizontalPodAutoscaler", "spec", key)
            # Without a minimum Kubernetes goes down to one.
            wanted = found or (where._replace(value=1) if where and field == "min" else None)
            yield from same("X-11", key, [wanted] if wanted else [], scale[field], f"scale.{field}")
        used = layered(subject, environment, "HorizontalPodAutoscaler", *cpu)
        yield from same("X-11", "the target", [used] if used else [], scale["cpu"], "scale.cpu")
    for value in values(subject, "Deployment", "spec", "replicas"):
        yield Finding(
            "X-11",
            value.file,
            value.line,
            "replicas is set here, and the HorizontalPodAutoscaler sets it too",
            "Remove replicas: every apply would undo the scaling.",
            "scale",
        )


def evictions(subject: Subject) -> Iterator[Finding]:
    """X-11: One copy may be evicted in every environment, at the floor of that environment."""
    for environment in made(subject):
        floor = environment["scale"]["min"]
        least = layered(subject, environment, "PodDisruptionBudget", "spec", "minAvailable")
        most = layered(subject, environment, "PodDisruptionBudget", "spec", "maxUnavailable")
        blocks = most if most and _share(most.value, floor) == 0 else None
        if least and (_share(least.value, floor) or 0) >= floor:
            blocks = least
        if blocks:
            yield Finding(
                "X-11",
                blocks.file,
                blocks.line,
                f"this budget allows no eviction while {environment['name']} runs {floor} "
                f"{'copy' if floor == 1 else 'copies'}, so no node could be drained",
                "Write maxUnavailable: 1.",
                "scale.min",
            )


def _share(value: object, of: int) -> int | None:
    """A number of pods or per cent of them, rounded up as a budget does; None for anything else."""
    form = re.fullmatch(r"([0-9]{1,9})(%?)", str(value))
    if not form:
        return None
    return -(-of * int(form[1]) // 100) if form[2] else int(form[1])


def rollout(subject: Subject) -> Iterator[Finding]:
    """X-11: A rollout replaces copies as the spec says, and never takes more away."""
    for environment in made(subject):
        kind = layered(subject, environment, "Deployment", "spec", "strategy", "type")
        if kind is not None and kind.value != "RollingUpdate":
            yield Finding(
                "X-11",
                kind.file,
                kind.line,
                f"a rollout of type {kind.value} takes all copies away before new ones are there",
                "Write RollingUpdate.",
                "rollout",
            )
            continue
        where = place(subject, environment, "Deployment", *_STRATEGY)
        for key, field in (("maxSurge", "max_surge"), ("maxUnavailable", "max_unavailable")):
            found = layered(subject, environment, "Deployment", *_STRATEGY, key)
            # What Kubernetes takes where nothing is written: 25%.
            value = found or (where._replace(value="25%") if where else None)
            expected = environment["rollout"][field]
            yield from same("X-11", key, [value] if value else [], expected, f"rollout.{field}")


def resources(subject: Subject) -> Iterator[Finding]:
    """Every copy requests what the spec says, and has a limit above which it cannot starve others."""
    app = container(subject)
    path = (*app, "resources")
    for environment in made(subject):
        for name in ("cpu", "memory"):
            request = layered(subject, environment, "Deployment", *path, "requests", name)
            limit = layered(subject, environment, "Deployment", *path, "limits", name)
            where = layered(subject, environment, "Deployment", *path)
            where = where or layered(subject, environment, "Deployment", *app)
            expected = environment[name]
            if request and quantity(request.value) != quantity(expected):
                field = f"resources.{name}"
                yield from same("resources", f"the {name} request", [request], expected, field)
            for what, value in (("request", request), ("limit", limit)):
                if value is None and where is not None:
                    yield _unbounded(where, f"{name} {what}", environment)
            if request and limit and _above(request, limit):
                yield Finding(
                    "resources",
                    limit.file,
                    limit.line,
                    f"the {name} limit {limit.value} is below the request {request.value}",
                    "Raise the limit: Kubernetes refuses such a pod.",
                    f"resources.{name}",
                )


def _unbounded(where: Value, what: str, environment: Context) -> Finding:
    return Finding(
        "resources",
        where.file,
        where.line,
        f"the app has no {what} in {environment['name']}",
        "Set it: the scheduler and the autoscaler count with requests, limits protect the node.",
        "resources",
    )


def _above(request: Value, limit: Value) -> bool:
    low, high = quantity(limit.value), quantity(request.value)
    return low is not None and high is not None and high > low


_SUFFIXES = {"m": Fraction(1, 1000), "": Fraction(1)}
_SUFFIXES |= {unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", 1)}
_SUFFIXES |= {f"{unit}i": Fraction(1024**power) for power, unit in enumerate("KMGTPE", 1)}


def quantity(value: Any) -> Fraction | None:
    """A quantity of Kubernetes as a number: `500m` and `0.5` are one. None for what is none."""
    form = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)([A-Za-z]*)", str(value))
    if not form or form[2] not in _SUFFIXES:
        return None
    return Fraction(form[1]) * _SUFFIXES[form[2]]


CHECKS: tuple[Check, ...] = (
    Check("X-11", "one floor of copies, which the autoscaler owns", replicas),
    Check("X-11", "room to evict one copy in every environment", evictions),
    Check("X-11", "a rollout takes no more copies away than the spec allows", rollout),
    Check("resources", "every copy has the resources of the spec, and limits", resources),
)
