"""Runs `gen` as a program of its own, and stops it in the middle of what it writes."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.golden import Case, Outcome, run

ROOT = Path(__file__).resolve().parent.parent
SMALLEST = "gen: 1\nname: sample-app\n"


def gen(
    *words: str | Path, cwd: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `gen` in a process of its own; `environment` replaces that of the tests."""
    return subprocess.run(
        [sys.executable, "-m", "generator", *map(str, words)],
        cwd=cwd,
        env={**(os.environ if environment is None else environment), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )


def here(*words: str) -> Outcome:
    """Run `gen` in this process, in an empty folder."""
    with tempfile.TemporaryDirectory() as empty:
        return run(Case(Path(empty), [*words], 0))


class Ended(NamedTuple):
    """How a forked `gen` ended: its exit code, or minus the signal that killed it."""

    code: int
    stderr: str


def fork(words: Sequence[str], cwd: Path, prepare: Callable[[], None]) -> Callable[[], Ended]:
    """Start `gen` in a fork of this process, which saves the start; `prepare` runs first, in it.

    Returns what waits for its end.
    """
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            os.dup2(told, 2)
            sys.stdout, sys.stderr = (
                os.fdopen(1, "w", closefd=False),
                os.fdopen(2, "w", closefd=False),
            )
            os.chdir(cwd)
            prepare()
            from generator.cli import main

            code = main(words)
            sys.stderr.flush()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)

    os.close(told)

    def wait() -> Ended:
        with open(heard, encoding="utf-8") as stderr:
            said = stderr.read()
        _, status = os.waitpid(child, 0)
        return Ended(os.waitstatus_to_exitcode(status), said)

    return wait


class Watch:
    """Counts the changes that a process is about to make below a folder, as Python announces them,
    and calls `act` before the `number`-th, counting from 1. Used as `prepare` of `fork`."""

    def __init__(self, below: Path, number: int = 0, act: Callable[[], None] = lambda: None):
        self._inside = os.path.realpath(below) + os.sep
        self._number = number
        self._act = act
        self._shared = mmap.mmap(-1, 8)  # the fork counts, this process reads

    @property
    def seen(self) -> int:
        return int.from_bytes(self._shared[:], "big")

    def __call__(self) -> None:
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        path = arguments[0] if arguments else None
        if event == "open":
            flags = arguments[2]
            changes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        else:
            changes = event in {"os.mkdir", "os.rename", "os.rmdir", "os.remove"}
        if not changes or not isinstance(path, str | os.PathLike):
            return
        if os.path.abspath(os.fspath(path)).startswith(self._inside):
            self._shared[:] = (self.seen + 1).to_bytes(8, "big")
            if self.seen == self._number:
                self._act()
