"""Outside tools: how each is called and what its answer means. Pure; `project` runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from generator.check import Finding
from generator.render.context import Context
from generator.tree import FileTree

SCRATCH = "{scratch}"
"""In a word of a call: the job's own empty folder, outside the project."""


class Step(NamedTuple):
    """One call: `argv` runs in the project folder; with `piped`, on the output of the step before.

    `into` names a file in the job's `SCRATCH` folder that keeps the output for later steps, with
    every `apart` taken apart by a blank: what a later step would take for a language of its own.
    """

    argv: tuple[str, ...]
    piped: bool = False
    into: str = ""
    apart: str = ""


class Answer(NamedTuple):
    """What the last step of a job said: `label` is the job's, `argv` the call that ended it."""

    label: str
    code: int
    stdout: str
    stderr: str
    argv: tuple[str, ...]

    @property
    def program(self) -> str:
        return self.argv[0]


class Job(NamedTuple):
    """Steps in a row; the first that fails ends them. `label` names the artifact."""

    label: str
    steps: tuple[Step, ...]


class Tool(NamedTuple):
    """An outside tool.

    `programs` must all be there, the tool itself last; `jobs` makes the calls for a project (none:
    nothing to do); `read` turns an answer into findings and raises `Crashed` for one that it cannot
    read; `passed` counts the checks that passed in an answer, where the tool says it.
    """

    rule: str
    title: str
    programs: tuple[str, ...]
    how_to_get: str
    jobs: Callable[[FileTree, Context], Iterable[Job]]
    read: Callable[[Answer], Iterable[Finding]]
    passed: Callable[[Answer], int] | None = None


class Crashed(Exception):  # noqa: N818 - a fact about a tool, not an error of ours
    """A tool ended without an answer: that is a finding, never a pass."""


class Unavailable(Exception):  # noqa: N818 - a fact about a machine, not an error of ours
    """A tool lacks something of its own that it needs, such as schemas: it has not run."""
