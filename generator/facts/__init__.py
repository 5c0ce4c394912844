"""Dated facts: which release lines exist, when their support ends, which one is the default.

The data is `facts.toml`, read once. Nothing here knows what day it is: a caller passes `today`.
"""

from __future__ import annotations

import datetime as dt
import functools
import tomllib
from importlib.resources import files
from typing import Any, NamedTuple

WARN_DAYS = 180
"""How long before its end a chosen line is warned about."""


class Line(NamedTuple):
    """A release line, such as Node.js 24, and the last day of its support."""

    version: str
    ends: dt.date


class Product(NamedTuple):
    """Something with release lines. `gone` are lines known to be past their end."""

    name: str
    default: str
    lines: tuple[Line, ...]
    gone: tuple[Line, ...]
    checked: dt.date
    source: str

    def line(self, version: str) -> Line | None:
        return next((line for line in (*self.lines, *self.gone) if line.version == version), None)

    def alive(self, today: dt.date) -> tuple[str, ...]:
        return tuple(line.version for line in self.lines if line.ends >= today)


TITLES = {"nodejs": "Node.js", "python": "Python", "kubernetes": "Kubernetes on EKS"}


@functools.cache
def _data() -> dict[str, Any]:
    return tomllib.loads((files(__package__) / "facts.toml").read_text("utf-8"))


@functools.cache
def product(name: str) -> Product:
    """The facts of `nodejs`, `python` or `kubernetes`."""
    table = _data()[name]
    return Product(
        name,
        table["default"],
        tuple(Line(version, line["ends"]) for version, line in table["lines"].items()),
        tuple(Line(version, ends) for version, ends in table["gone"].items()),
        table["checked"],
        table["source"],
    )


def offered(language: str, target: str) -> tuple[str, ...]:
    """The release lines of `language` that `target` can run, oldest first."""
    every = tuple(line.version for line in product(language).lines)
    return tuple(_data()["offered"].get(language, {}).get(target, every))


def packaged(language: str, system: str) -> tuple[str, ...]:
    """The release lines of `language` that a server with this operating system can have."""
    every = tuple(line.version for line in product(language).lines)
    return tuple(_data()["packaged"].get(language, {}).get(system, every))


def release(language: str, line: str) -> str:
    """What a server installs of a line: an exact release where it fetches an archive, else the line,
    of which its operating system has the newest."""
    return str(_data()["archived"].get(language, {}).get(line, line))


def default_runtime(
    language: str, targets: tuple[str, ...], systems: frozenset[str] = frozenset()
) -> str:
    """The newest line up to the default that every target, and every system of servers, can run."""
    facts = product(language)
    lines = [line.version for line in facts.lines]
    lines = lines[: lines.index(facts.default) + 1]
    takers = [offered(language, t) for t in targets] + [packaged(language, s) for s in systems]
    return next(v for v in reversed(lines) if all(v in taker for taker in takers))


def ended_defaults(today: dt.date) -> list[str]:
    """The defaults that are past their end: what the scheduled check fails on."""
    ended = []
    for name, title in TITLES.items():
        facts = product(name)
        line = facts.line(facts.default)
        if line is None or line.ends < today:
            ended.append(
                f"{title} {facts.default} ended on {line.ends if line else 'an unknown day'}"
            )
    return ended
