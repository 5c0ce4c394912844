"""What several checks read: manifests by kind, instructions of the image, equal values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from generator.check import Finding, Subject
from generator.check.artifacts import Instruction, Manifest, Step, Value, dockerfile, last_stage

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
