"""The seams of stacks of OpenTofu: what their arguments say, and what the spec does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from generator.check import Finding, Subject
from generator.check.artifacts import Unreadable
from generator.check.hcl import Expression, Stack, read
from generator.render.context import Context


class Seam(NamedTuple):
    """What an argument of a stack is to be: equal to a value, or what `fits` says of the two."""

    rule: str
    block: str
    argument: str
    expected: Any
    field: str
    fits: Callable[[Any, Any], bool] = lambda found, expected: bool(found == expected)
    need: str = ""


def least(found: Any, expected: Any) -> bool:
    return isinstance(found, int | float) and found >= expected


def most(found: Any, expected: Any) -> bool:
    return isinstance(found, int | float) and found <= expected


def holds(found: Any, expected: Any) -> bool:
    return isinstance(found, list) and set(found) >= set(expected)


class Kind(NamedTuple):
    """A stack that an approach has in each environment, in a folder of its name."""

    approach: str
    folder: str
    seams: Callable[[Context, Context], Iterator[Seam]]
    """Of the whole context, and of an environment."""

    def place(self, environment: Context) -> str:
        return f"tofu/live/{environment['name']}/{self.folder}/"

    def each(self, subject: Subject) -> Iterator[tuple[Context, Stack]]:
        """The stacks that are there and can be read, each with its environment."""
        for environment in subject.context["environments"]:
            stack = read(subject.files, f"{self.place(environment)}main.tf")
            if isinstance(stack, Stack):
                yield environment, stack

    def of(self, rule: str) -> Callable[[Subject], Iterator[Finding]]:
        """The check of all seams of a rule."""

        def check(subject: Subject) -> Iterator[Finding]:
            for environment, stack in self.each(subject):
                seams = self.seams(subject.context, environment)
                for seam in itertools.chain(_common(self, subject.context, environment), seams):
                    if seam.rule == rule:
                        yield from _judge(stack, seam)

        return check

    def syntax(self, subject: Subject) -> Iterator[Finding]:
        """Every stack can be read."""
        for environment in subject.context["environments"]:
            for file in ("main.tf", "outputs.tf"):
                stack = read(subject.files, f"{self.place(environment)}{file}")
                if isinstance(stack, Unreadable):
                    fix = "Mend it: tofu fmt says where."
                    yield Finding("syntax", stack.file, stack.line, stack.why, fix)


def _common(kind: Kind, context: Context, environment: Context) -> Iterator[Seam]:
    """What every stack says."""
    tags = {
        "app": context["name"],
        "env": environment["name"],
        "approach": kind.approach,
        "owner": environment["owner_label"],
        "managed-by": "gen",
    }
    yield Seam("X-14", "locals", "tags", tags, "owner", lambda f, e: _within(e, f))
    account = [environment["account"]] if environment["account"] else None
    yield Seam("X-10", "provider aws", "allowed_account_ids", account, "account")
    yield Seam("X-10", "provider aws", "region", environment["region"], "region")


def _within(expected: dict[str, str], found: Any) -> bool:
    return isinstance(found, dict) and all(found.get(key) == expected[key] for key in expected)


_DEFAULTS: dict[str, Any] = {"internal": False, "nodes": "auto"}
"""What an argument is that is not there."""


def _judge(stack: Stack, seam: Seam) -> Iterator[Finding]:
    found = stack.get(seam.block, seam.argument)
    value = found.value if found else _DEFAULTS.get(seam.argument)
    if isinstance(value, Expression) or (value is None and seam.expected is None):
        return
    if value is None or not seam.fits(value, seam.expected):
        line = found.line if found else stack.line(seam.block)
        said = "is not there" if value is None else f"is {_shown(value)}"
        yield Finding(
            seam.rule,
            stack.file,
            line,
            f"{seam.argument} of {seam.block} {said}, and the spec says {seam.need}{_shown(seam.expected)}",
            f"Write {seam.argument} = {_shown(seam.expected)}, or change the spec and update."
            if seam.expected is not None
            else "Take it out, or change the spec and update.",
            seam.field,
        )


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={value[key]}" for key in value)
    return "nothing" if value is None else str(value)
