"""Problems: wrong input and an unfit machine, as values.

A room that meets bad input returns or raises `Problem`s; only `console` prints them and only `cli`
turns them into an exit code. Nothing here prints, and no problem is built from another error's
text alone: each says what is wrong, why, and what to do.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Where(NamedTuple):
    """A place in a file; `line` and `column` count from 1, 0 means the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return ":".join(str(part) for part in self if part)


class Problem(NamedTuple):
    """One thing that is wrong.

    `code` is stable (kebab-case). `summary` is one line, `detail` says why in full sentences and may
    be empty, `fix` says what to do and never is. `field` is the dotted spec key behind it, if any.
    A `warning` is told and stops nothing.
    """

    code: str
    summary: str
    fix: str
    detail: str = ""
    where: Where | None = None
    field: str = ""
    warning: bool = False


class GenError(Exception):
    """Something stops the command; `exit_code` is what the shell gets."""

    exit_code = 2

    def __init__(
        self, problems: Problem | Iterable[Problem], sources: dict[str, str] | None = None
    ):
        self.problems: Sequence[Problem] = (
            (problems,) if isinstance(problems, Problem) else tuple(problems)
        )
        self.sources = sources or {}  # file name -> its text, so that the line can be shown
        super().__init__("; ".join(p.summary for p in self.problems))


class InputError(GenError):
    """What the user gave is wrong: the spec, an argument, a folder."""

    exit_code = 2


class MachineError(GenError):
    """The machine is in the way: permission, space, a missing tool."""

    exit_code = 3


class FailedError(GenError):
    """What was asked was tried and does not work, for a reason in the project: a build that fails."""

    exit_code = 1


def cannot_read(error: OSError, path: str | os.PathLike[str]) -> MachineError:
    """What a failed read means to the user."""
    denied = error.errno in {errno.EACCES, errno.EPERM}
    return MachineError(
        Problem(
            "cannot-read",
            error.strerror or str(error),
            "Give yourself the right to read it." if denied else "Mend that and try again.",
            where=Where(str(error.filename or path)),
        )
    )


def machine_error(error: OSError, path: str | os.PathLike[str]) -> MachineError:
    """What a failed write of a project means to the user."""
    name = str(error.filename or path)
    fixes = {
        errno.EACCES: "Give yourself the right to write there, or choose another folder.",
        errno.EPERM: "Give yourself the right to write there, or choose another folder.",
        errno.EROFS: "Choose a folder on a writable disk.",
        errno.ENOSPC: "Free some space and run the command again.",
        errno.EDQUOT: "Free some space and run the command again.",
        errno.EFBIG: "Raise the limit on the size of files, or choose another disk.",
        errno.ENAMETOOLONG: "Choose a shorter path.",
    }
    return MachineError(
        Problem(
            "cannot-write",
            error.strerror or str(error),
            fixes.get(error.errno or 0, "Mend that and run the command again."),
            "Nothing was written.",
            Where(name),
        )
    )
