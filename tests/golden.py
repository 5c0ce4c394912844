"""Cases: a folder holds a command, its input and everything it must give.

    tests/cases/NAME/cmd       the command line; a second line `exit N` where it is not 0
    tests/cases/NAME/out/      the tree that must come out in out/, without .gen/; what no template
                               changes is a link to where it stands in templates/
    tests/cases/NAME/stdout    what it must print, where the file is there
    tests/cases/NAME/stderr    likewise
    tests/cases/NAME/*         everything else is input, copied to where the command runs

`python -m tests.golden [NAME...]` writes out/, stdout and stderr anew; read the diff.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from generator.cli import main

TODAY = "1795392000"
"""2026-11-23: what ends after this day is no problem in any case, whenever the tests run."""

CASES = Path(__file__).parent / "cases"
TEMPLATES = CASES.parents[1] / "templates"
_EXPECTED = {"cmd", "out", "stdout", "stderr"}


class Case(NamedTuple):
    """A command line in words, without `gen`, and the exit code it must end with."""

    folder: Path
    words: list[str]
    code: int


class Outcome(NamedTuple):
    """What a command gave. `tree` maps paths below out/ to bytes, an `x` in front for executables."""

    code: int
    stdout: str
    stderr: str
    tree: dict[str, bytes]


def read_case(folder: Path) -> Case:
    line, *rest = (folder / "cmd").read_text().splitlines()
    program, *words = shlex.split(line)
    assert program == "gen", line
    return Case(folder, words, int(rest[0].removeprefix("exit ")) if rest else 0)


def run(case: Case) -> Outcome:
    """Run a case in a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        for entry in case.folder.iterdir():
            if entry.name not in _EXPECTED:
                copy = shutil.copytree if entry.is_dir() else shutil.copy2
                copy(entry, work / entry.name)
        stdout, stderr = io.StringIO(), io.StringIO()
        os.environ["SOURCE_DATE_EPOCH"] = TODAY
        with (
            contextlib.chdir(work),
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            code = main(case.words)
        place = os.path.realpath(scratch)
        shown, told = (
            text.getvalue().replace(place, ".").replace(scratch, ".") for text in (stdout, stderr)
        )
        return Outcome(code, shown, told, tree(work / "out"))


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder, without .gen/."""
    found = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if file.is_file() and not path.startswith(".gen/"):
            found["x " + path if os.access(file, os.X_OK) else path] = file.read_bytes()
    return found


def write(case: Case, outcome: Outcome) -> None:
    """Make an outcome the expected one."""
    out = case.folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    for name, content in outcome.tree.items():
        file = out / name.removeprefix("x ")
        file.parent.mkdir(parents=True, exist_ok=True)
        if _source(name, content):
            file.symlink_to(os.path.relpath(TEMPLATES / name, file.parent))
            continue
        file.write_bytes(content)
        file.chmod(0o755 if name.startswith("x ") else 0o644)
    for name, text in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        if text and (name == "stderr" or (case.folder / name).exists()):
            (case.folder / name).write_text(text)


def _source(name: str, content: bytes) -> bool:
    """Whether the file of the templates at this path is passed on as it is: then a link stands for it,
    so that a change shows once in a diff, and not in every case."""
    file = TEMPLATES / name
    return file.is_file() and file.read_bytes() == content


def _main(names: list[str]) -> None:
    if os.environ.get("CI"):
        sys.exit("goldens are written by people who read the diff, not by CI")
    for folder in sorted(CASES.iterdir()):
        if names and folder.name not in names:
            continue
        case = read_case(folder)
        outcome = run(case)
        if outcome.code != case.code:
            sys.exit(f"{folder.name}: exit {outcome.code}, not {case.code}\n{outcome.stderr}")
        write(case, outcome)
    from generator.spec import schema

    Path(schema.__file__).with_name("schema.json").write_text(schema.build())


if __name__ == "__main__":
    _main(sys.argv[1:])
