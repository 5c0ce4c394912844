"""What the Makefile gives the app when it runs here."""

from __future__ import annotations

import re
import shlex

from generator.check.artifacts import Value
from generator.tree import FileTree, RelPath

_FILE = RelPath("Makefile")


def run_variables(files: FileTree) -> dict[str, Value]:
    """The variables that the recipe of `run` sets; none where it is not written as gen writes it."""
    if _FILE not in files:
        return {}
    lines = files[_FILE].content.decode(errors="replace").splitlines()
    start = next(
        (at for at, line in enumerate(lines) if re.match(r"run\s*:(?!=)", line)), len(lines)
    )
    found: dict[str, Value] = {}
    for number, line in enumerate(lines[start + 1 :], start + 2):
        if not line.startswith("\t"):
            break
        for name, text in _assignments(line):
            found[name] = Value(text, _FILE, number)
    return found


def _assignments(line: str) -> list[tuple[str, str]]:
    """The `NAME=value` words of a line, as the shell would see them."""
    try:
        words = shlex.split(line.removesuffix("\\").replace("$$", "$"))
    except ValueError:
        return []  # A quote that ends on another line: not what gen writes.
    forms = (re.fullmatch(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", word) for word in words)
    return [(form[1], form[2]) for form in forms if form]
