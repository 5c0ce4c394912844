"""Checks: is this true? Each reads a project as a value and returns findings; none changes anything.

A check of our own is a module here with one `Check`; an adapter of an outside tool is a module in
`tools`. Both are listed in `registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from generator.check.artifacts import Manifest, Unreadable
from generator.render.context import Context
from generator.tree import FileTree, RelPath


class Finding(NamedTuple):
    """One thing that is not true. `line` counts from 1, 0 means the whole file; `rule` is stable.

    `field` is the key of the spec behind it, where one is known; `fix` says what to do.
    """

    rule: str
    file: str
    line: int
    message: str
    fix: str
    field: str = ""


class Subject(NamedTuple):
    """A project to check.

    `files` are those on disk, `wanted` those that its spec makes now, `written` the hashes that gen
    wrote last, `changed_spec` whether the spec has changed since, `context` what the templates saw,
    `manifests` and `unreadable` what the YAML of `files` says, `promised` what that of `wanted` says.
    """

    files: FileTree
    wanted: FileTree
    written: dict[RelPath, str]
    changed_spec: bool
    context: Context
    manifests: tuple[Manifest, ...]
    unreadable: tuple[Unreadable, ...]
    promised: tuple[Manifest, ...]


class Check(NamedTuple):
    """A check of our own: `rule` is its id, `title` what it promises, in words."""

    rule: str
    title: str
    run: Callable[[Subject], Iterable[Finding]]
