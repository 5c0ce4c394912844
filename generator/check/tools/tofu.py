"""tofu: every file is formatted, and every stack that was initialised is valid. Known to work: 1.12."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator

from generator.check import Finding
from generator.check.tools import Answer, Crashed, Job, Step, Tool, Unavailable
from generator.check.tools.overlays import STACKS
from generator.render.context import Context
from generator.tree import FileTree

_FOLDER = STACKS
_STACKS = f"{_FOLDER}/live/"
_NOT_INITIALISED = ("Missing required provider", "Module not installed")


def jobs(files: FileTree, _: Context) -> Iterator[Job]:
    folders = {posixpath.dirname(path) for path in files if path.endswith(".tf")}
    if any(folder.startswith(f"{_FOLDER}/") for folder in folders):
        fmt = ("tofu", "fmt", "-check", "-recursive", "-no-color", _FOLDER)
        yield Job(_FOLDER, (Step(fmt),))
    for folder in sorted(folders):
        if folder.startswith(_STACKS):
            validate = ("tofu", f"-chdir={folder}", "validate", "-json", "-no-color")
            yield Job(folder, (Step(validate),))


def read(answer: Answer) -> Iterator[Finding]:
    return _formatted(answer) if answer.label == _FOLDER else _valid(answer)


def _formatted(answer: Answer) -> Iterator[Finding]:
    # 3: some files are not formatted, and they are listed.
    files = [line for line in answer.stdout.splitlines() if line.startswith(f"{_FOLDER}/")]
    if answer.code not in (0, 3) or (answer.code == 3) != bool(files):
        raise Crashed((answer.stderr.strip().splitlines() or [f"exit {answer.code}"])[-1])
    for file in files:
        fix = f"tofu fmt {posixpath.dirname(file)}"
        yield Finding("tofu/fmt", file, 0, "the file is not formatted as tofu would", f"Run {fix}.")


def _valid(answer: Answer) -> Iterator[Finding]:
    try:
        # Before it may stand a warning about the user's own settings of tofu.
        found = json.loads(answer.stdout[answer.stdout.index("{") :])["diagnostics"]
    except (ValueError, KeyError, TypeError):
        raise Crashed(answer.stderr.strip() or f"exit {answer.code}") from None
    if any(one["summary"] in _NOT_INITIALISED for one in found):
        raise Unavailable(f"{answer.label} is not initialised; tofu -chdir={answer.label} init")
    for one in found:
        where = one.get("range") or {"filename": "", "start": {"line": 0}}
        file = posixpath.normpath(posixpath.join(answer.label, where["filename"]))
        what = (
            f"{one['summary']}: {' '.join(one['detail'].split())}"
            if one["detail"]
            else one["summary"]
        )
        fix = "Mend it: tofu would stop here before it does anything."
        yield Finding("tofu/validate", file, where["start"]["line"], what, fix)


TOOL = Tool(
    "tofu",
    "OpenTofu finds its files formatted and every stack valid",
    ("tofu",),
    "see opentofu.org/docs/intro/install",
    jobs,
    read,
)
