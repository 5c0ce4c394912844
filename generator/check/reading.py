"""What several checks read: manifests by kind, instructions of the image, equal values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from generator.check import Finding, Subject
from generator.check.artifacts import Instruction, Manifest, Step, Value, dockerfile, last_stage
from generator.tree import RelPath

POD: tuple[Step, ...] = ("spec", "template", "spec")
CONTAINER: tuple[Step, ...] = (*POD, "containers", "*")
ALB = "alb.ingress.kubernetes.io/"


def kinds(subject: Subject, *wanted: str) -> Iterator[Manifest]:
    """The manifests of these kinds."""
    return (manifest for manifest in subject.manifests if manifest.kind in wanted)


def below(subject: Subject, path: str) -> Iterator[Manifest]:
    """The manifests of a file, or of a folder given with its slash."""
    return (manifest for manifest in subject.manifests if manifest.file.startswith(path))


def values(subject: Subject, kind: str, *path: Step) -> Iterator[Value]:
    """Every value at a path in the manifests of a kind."""
    for manifest in kinds(subject, kind):
        yield from manifest.find(*path)


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
