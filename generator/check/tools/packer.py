"""packer: the files of an image are formatted and can be read. Wants 1.11, as they do; nothing is built."""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Finding
from generator.check.tools import Answer, Crashed, Job, Step, Tool, Unavailable
from generator.render.context import Context
from generator.tree import FileTree

_FOLDER = "packer"
_TOO_OLD = "Unsupported Packer Core version"
_WELL = re.compile(r"^(Syntax-only check passed|The configuration is valid)", re.MULTILINE)
_ERROR = re.compile(r"^Error: (?P<what>.+)\n\n  on (?P<file>\S+) line (?P<line>\d+)", re.MULTILINE)


def jobs(files: FileTree, _: Context) -> Iterator[Job]:
    if any(path.startswith(f"{_FOLDER}/") and path.endswith(".pkr.hcl") for path in files):
        yield Job("fmt", (Step(("packer", "fmt", "-check", _FOLDER)),))
        yield Job("validate", (Step(("packer", "validate", "-syntax-only", _FOLDER)),))


def read(answer: Answer) -> Iterator[Finding]:
    return _formatted(answer) if answer.label == "fmt" else _valid(answer)


def _formatted(answer: Answer) -> Iterator[Finding]:
    # 3: some files are not formatted, and they are listed.
    files = [line for line in answer.stdout.splitlines() if line.startswith(f"{_FOLDER}/")]
    if answer.code not in (0, 3) or (answer.code == 3) != bool(files):
        raise Crashed((answer.stderr.strip().splitlines() or [f"exit {answer.code}"])[-1])
    for file in files:
        what = "the file is not formatted as packer would"
        yield Finding("packer/fmt", file, 0, what, f"Run packer fmt {_FOLDER}.")


def _valid(answer: Answer) -> Iterator[Finding]:
    said = answer.stdout + answer.stderr
    if answer.code == 0 and _WELL.search(said):
        return
    if _TOO_OLD in said:
        raise Unavailable("the packer that is installed is older than 1.11")
    # What is wrong in a file it says once for each pass over it.
    errors = dict.fromkeys(
        (found["file"], int(found["line"]), found["what"]) for found in _ERROR.finditer(said)
    )
    if not errors:
        raise Crashed((said.strip().splitlines() or [f"exit {answer.code}"])[-1])
    for file, line, what in errors:
        fix = "Mend it: packer would stop here before it does anything."
        yield Finding("packer/validate", file, line, what, fix)


TOOL = Tool(
    "packer",
    "Packer finds its files formatted, and can read them",
    ("packer",),
    "see developer.hashicorp.com/packer/install",
    jobs,
    read,
)
