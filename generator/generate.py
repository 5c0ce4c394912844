"""The way from a spec to the files of a project: load, resolve, render.

Every command that needs the artifacts goes this way; none of it writes.
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import NamedTuple

from generator import targets
from generator.problems import InputError, Problem
from generator.render import cache
from generator.render.context import context
from generator.render.engine import Compiled, Pack, render
from generator.render.packs import read_pack, shipped
from generator.spec.load import read
from generator.spec.mask import masked
from generator.spec.model import Project
from generator.spec.validate import validate
from generator.tree import FileTree


class Checked(NamedTuple):
    """A spec without errors. `sources` is its text by file name, for messages."""

    project: Project
    resolved: targets.Resolved
    warnings: tuple[Problem, ...]
    sources: dict[str, str]


def load(spec: bytes, file: str, today: dt.date, locked: targets.Resolved | None = None) -> Checked:
    """Read and check a spec.

    Raises:
        InputError: with every problem of the file.
    """
    document, problems = read(spec, file)
    project, more = validate(document, targets.rules(today))
    sources = {file: masked(document)}
    problems = sorted(problems + more, key=lambda p: (p.where is not None, p.where))
    if any(not problem.warning for problem in problems):
        raise InputError(problems, sources)
    return Checked(project, targets.resolve(project, locked), tuple(problems), sources)


def files(checked: Checked) -> FileTree:
    """Render the artifacts of a checked spec."""
    pack, compiled = _templates()
    tree = render(pack, context(checked.project, checked.resolved), compiled)
    if compiled.changed:
        cache.write(compiled.dump())
        compiled.changed = False
    return tree


@functools.cache
def _templates() -> tuple[Pack, Compiled]:
    """Our templates, read once in a process."""
    return read_pack(shipped()), Compiled(cache.read())
