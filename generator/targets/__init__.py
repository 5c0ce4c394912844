"""The four approaches: what each refuses of a spec.

Each approach that exists is a module here with `rules`, listed in `AVAILABLE`. Whatever reads the
word `all` or a target's name asks this room.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from generator import facts
from generator.spec.model import TARGETS, Project, Spec
from generator.spec.rules import Broken, Rule
from generator.targets import container, server, vm

AVAILABLE: dict[str, ModuleType] = {
    "server": server,
    "vm": vm,
    "container": container,
}


class Resolved(NamedTuple):
    """The defaults that age, as this project has them. The lock records them."""

    targets: tuple[str, ...]
    runtime: str
    kubernetes: str
    release: str
    """Of the runtime, as servers install it: `24.21.0` from an archive, `3.13` from packages."""


def chosen(spec: Spec) -> tuple[str, ...]:
    """The targets of a spec in their usual order; `all` is every one that exists."""
    if "all" in spec.targets or not spec.targets:
        return tuple(AVAILABLE)
    return tuple(target for target in TARGETS if target in spec.targets)


def resolve(project: Project, locked: Resolved | None = None) -> Resolved:
    """Fill in what the spec leaves out: from the lock where there is one, else from the facts."""
    spec = project.base
    targets = chosen(spec)
    if locked and not spec.targets:
        targets = locked.targets
    language = spec.runtime.language
    systems = _systems(project, targets)
    runtime = spec.runtime.version or (
        locked.runtime if locked else facts.default_runtime(language, targets, systems)
    )
    kept = locked is not None and f"{locked.release}.".startswith(f"{runtime}.")
    return Resolved(
        targets,
        runtime,
        spec.container.kubernetes
        or (locked.kubernetes if locked else facts.product("kubernetes").default),
        locked.release if locked and kept else facts.release(language, runtime),
    )


def _systems(project: Project, targets: tuple[str, ...]) -> frozenset[str]:
    """The operating systems on which the app runs without an image of its own."""
    found = {vm.SYSTEM} if "vm" in targets else set()
    if "server" in targets:
        found |= {one.spec.server.os for one in project.environments}
    return frozenset(found)


def rules(today: dt.date) -> tuple[Rule, ...]:
    """The rules of the approaches that a spec chooses, and those about support that ends."""

    def of_targets(spec: Spec) -> Iterator[Broken]:
        told = set()
        for target in chosen(spec):
            if target in AVAILABLE:
                for broken in AVAILABLE[target].rules(spec):
                    if broken not in told:
                        told.add(broken)
                        yield broken

    return (_availability, _support_of(today), of_targets, _unused_sections)


def _availability(spec: Spec) -> Iterator[Broken]:
    for index, target in enumerate(spec.targets):
        if target != "all" and target not in AVAILABLE:
            yield Broken(
                "target-not-available",
                ("targets", index),
                f"target {target} is not available in this version of gen",
                f"Choose from: {', '.join(AVAILABLE)}.",
            )


def _unused_sections(spec: Spec) -> Iterator[Broken]:
    """Options of an approach that is not chosen: legal, since targets change, but told."""
    for target in TARGETS:
        if target not in chosen(spec) and getattr(spec, target) != getattr(Spec(), target):
            yield Broken(
                "no-effect",
                (target,),
                f"the section {target} has no effect: {target} is not among the targets",
                f"Add {target} to targets, or take the section out.",
                (("targets",),),
                warning=True,
            )


def _support_of(today: dt.date) -> Rule:
    def support(spec: Spec) -> Iterator[Broken]:
        language, targets = spec.runtime.language, tuple(t for t in chosen(spec) if t in AVAILABLE)
        if spec.runtime.version:
            yield from _line(("runtime", "version"), language, spec.runtime.version, today)
            for target in targets:
                lines = facts.offered(language, target)
                known = facts.product(language).line(spec.runtime.version)
                if known and known.ends >= today and spec.runtime.version not in lines:
                    yield Broken(
                        "runtime-not-offered",
                        ("runtime", "version"),
                        f"{facts.TITLES[language]} {spec.runtime.version} is not offered by {target}",
                        f"Choose one of {', '.join(lines)}.",
                        (("targets",),),
                    )
        if spec.container.kubernetes and "container" in targets:
            yield from _line(
                ("container", "kubernetes"), "kubernetes", spec.container.kubernetes, today
            )

    return support


def _line(path: tuple[str, str], name: str, version: str, today: dt.date) -> Iterator[Broken]:
    product, title = facts.product(name), facts.TITLES[name]
    line = product.line(version)
    fine = ", ".join(product.alive(today))
    if line is None:
        yield Broken(
            "unknown-version",
            path,
            f"{title} {version} is not known to gen",
            f"Choose one of {fine}, or update gen.",
            detail=f"The table was last checked on {product.checked}.",
        )
    elif line.ends < today:
        yield Broken(
            "version-ended",
            path,
            f"support of {title} {version} ended on {line.ends}",
            f"Choose one of {fine}.",
        )
    elif (line.ends - today).days < facts.WARN_DAYS:
        yield Broken(
            "version-ends-soon",
            path,
            f"support of {title} {version} ends on {line.ends}",
            f"Plan the move to {product.default}.",
            warning=True,
        )
