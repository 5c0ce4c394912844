"""What several checks read: manifests by kind, instructions of the image, equal values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from generator.check import Finding, Subject
from generator.check.artifacts import Instruction, Manifest, Step, Value, dockerfile, last_stage
from generator.render.context import Context
from generator.tree import RelPath

Path = tuple[Step, ...]
POD: Path = ("spec", "template", "spec")
CONTAINERS: Path = (*POD, "containers", "*")
ALB = "alb.ingress.kubernetes.io/"
NOTE: Path = ("metadata", "annotations")
COLORS = ("blue", "green")


def made(subject: Subject) -> list[Context]:
    """The environments that have an overlay. Of one that has none yet, the drift is told."""
    return [
        environment
        for environment in subject.context["environments"]
        if f"k8s/overlays/{environment['name']}/kustomization.yaml" in subject.files
    ]


def kinds(subject: Subject, *wanted: str) -> Iterator[Manifest]:
    """The manifests of these kinds."""
    return (manifest for manifest in subject.manifests if manifest.kind in wanted)


def below(subject: Subject, path: str) -> Iterator[Manifest]:
    """The manifests of a file, or of a folder given with its slash."""
    return (manifest for manifest in subject.manifests if manifest.file.startswith(path))


def named(subject: Subject, kind: str, environment: Context | None = None) -> Iterator[Manifest]:
    """The app's own objects of a kind, base first; in one environment where one is given.

    What somebody adds beside them, under other names, is theirs: nobody promised anything about it.
    """
    app = subject.context["name"]
    names = {app, *(f"{app}-{color}" for color in COLORS)}
    folders = ("k8s/base/", f"k8s/overlays/{environment['name']}/" if environment else "k8s/")
    for folder in folders if environment else folders[1:]:
        for manifest in below(subject, folder):
            if manifest.kind == kind and manifest.name in names:
                yield manifest


def values(subject: Subject, kind: str, *path: Step) -> Iterator[Value]:
    """Every value at a path in the app's own objects of a kind."""
    for manifest in named(subject, kind):
        yield from manifest.find(*path)


def layered(subject: Subject, environment: Context, kind: str, *path: Step) -> Value | None:
    """The value that counts in an environment: the overlay's where it has one, else the base's."""
    found = [v for m in named(subject, kind, environment) for v in m.find(*path)]
    return found[-1] if found else None


def place(subject: Subject, environment: Context, kind: str, *path: Step) -> Value | None:
    """The value that counts; where there is none, the deepest part of the path that is there."""
    if found := layered(subject, environment, kind, *path):
        return found
    for length in range(len(path) - 1, -1, -1):
        for manifest in named(subject, kind, environment):
            for value in manifest.find(*path[:length]):
                return value
    return None


def container(subject: Subject) -> Path:
    """The path of the app's container among those that somebody may have put beside it."""
    app, names = subject.context["name"], []
    for manifest in named(subject, "Deployment"):
        for value in manifest.find(*CONTAINERS, "name"):
            path = (*POD, "containers", f"name={value.value}")
            image = manifest.get(*path, "image")
            if image == app:
                return path
            names += [path] if image else []
    return names[0] if names else (*POD, "containers", "name=app")


def mapping(value: Value | None) -> dict[str, Any]:
    """A value that should be a mapping; empty where it is not one, which the schemas say."""
    return value.value if value and isinstance(value.value, dict) else {}


def number(value: object) -> int:
    """A value that should be a whole number; 0 where it is not one, which the schemas say."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def image(subject: Subject, word: str) -> Iterator[Instruction]:
    """The instructions of one word in the stage that becomes the image."""
    return (one for one in last_stage(dockerfile(subject.files)) if one.word == word)


def app_constant(subject: Subject, name: str) -> Iterator[Value]:
    """A constant of the generated server, such as `DRAIN_MS`; none where the app is another's."""
    for file in ("server.js", "server.py"):
        path = RelPath(f"{subject.context['app']['path']}/{file}")
        if path not in subject.files:
            continue
        for number, line in enumerate(_lines(subject, path), 1):
            found = re.fullmatch(rf"(?:const )?{name} = ([0-9_]+);?", line)
            if found:
                yield Value(int(found[1]), path, number)


def keep_alive_s(subject: Subject) -> int:
    """How long the app keeps an idle connection: as its code says, else as the spec asks for."""
    wanted = subject.context["times"]["keep_alive_ms"]
    found = [value.value for value in app_constant(subject, "KEEP_ALIVE_MS")]
    return int(min(found or [wanted])) // 1000


def app_routes(subject: Subject) -> Iterator[tuple[str, str]]:
    """The files of the generated core, each with its text."""
    for file in ("core.js", "core.py"):
        path = RelPath(f"{subject.context['app']['path']}/{file}")
        if path in subject.files:
            yield path, "\n".join(_lines(subject, path))


def _lines(subject: Subject, path: RelPath) -> list[str]:
    return subject.files[path].content.decode(errors="replace").splitlines()


def same(
    rule: str, what: str, found: Iterable[Value], expected: Any, field: str
) -> Iterator[Finding]:
    """A finding for each value that is not the expected one; `field` is the key of the spec."""
    for value in found:
        if str(value.value) != str(expected):
            yield Finding(
                rule,
                value.file,
                value.line,
                f"{what} is {value.value}, the spec says {expected}",
                f"Write {expected} here, or change {field} in app.yaml for all artifacts.",
                field,
            )
