"""The only module that prints. Text for people (colour, carets), or one JSON document."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from generator.problems import Problem

_BOLD, _RED, _YELLOW, _CYAN, _OFF = "\x1b[1m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[0m"


class Console:
    """Where a command's words go: results to stdout, problems to stderr."""

    def __init__(self, output: str = "text", *, quiet: bool = False):
        self.json = output == "json"
        self.quiet = quiet
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # a terminal that knows no UTF-8

    def say(self, text: str = "") -> None:
        """A line for people; nothing under --quiet or --format json."""
        if not self.quiet and not self.json:
            print(text)

    def result(self, text: str, data: Any) -> None:
        """The answer of a command: text for people, or the document for machines."""
        print(_json(data) if self.json else text)

    def data(self, data: Any) -> None:
        """The document of a command; only under --format json."""
        if self.json:
            print(_json(data))

    def problems(self, problems: Sequence[Problem], sources: Mapping[str, str]) -> None:
        """Problems that end the command."""
        if self.json:
            print(_json({"problems": [as_data(problem) for problem in problems]}))
            return
        for problem in problems:
            self._problem(problem, sources)
        errors = sum(not problem.warning for problem in problems)
        if errors > 1:
            print(f"{errors} problems", file=sys.stderr)

    def warn(self, problems: Iterable[Problem], sources: Mapping[str, str]) -> None:
        """Problems that end nothing; under --format json the command's document carries them."""
        if not self.json:
            for problem in problems:
                self._problem(problem, sources)

    def _problem(self, problem: Problem, sources: Mapping[str, str]) -> None:
        paint = _Paint(sys.stderr)
        place = f"{problem.where}: " if problem.where else ""
        kind = paint(_YELLOW, "warning: ") if problem.warning else ""
        lines = [paint(_BOLD, place) + kind + paint(_BOLD, problem.summary)]
        lines += _excerpt(problem, sources, paint)
        if problem.detail:
            lines.append(f"  {problem.detail}")
        lines.append(paint(_CYAN, "  fix: ") + problem.fix)
        print("\n".join(lines), file=sys.stderr)


class _Paint:
    def __init__(self, stream: TextIO):
        self.on = (
            stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        )

    def __call__(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_OFF}" if self.on and text else text


_WIDTH = 100


def _excerpt(problem: Problem, sources: Mapping[str, str], paint: _Paint) -> list[str]:
    """The line that the problem is about, with a caret below its column."""
    where = problem.where
    if where is None or not where.line or where.file not in sources:
        return []
    lines = sources[where.file].splitlines()
    if where.line > len(lines):
        return []
    line = lines[where.line - 1].replace("\t", " ")
    column = max(where.column, 1)
    start = max(0, column - _WIDTH * 3 // 4) if len(line) > _WIDTH else 0
    line = "".join(c if c.isprintable() else "?" for c in line[start : start + _WIDTH])
    label = str(where.line)
    caret = " " * (column - start - 1) + paint(_RED, "^")
    return [f"  {label} | {line}", f"  {' ' * len(label)} | {caret}"]


def as_data(problem: Problem) -> dict[str, Any]:
    """A problem as the JSON output has it."""
    where = problem.where
    return {
        "code": problem.code,
        "file": where.file if where else None,
        "line": where.line or None if where else None,
        "column": where.column or None if where else None,
        "summary": problem.summary,
        "detail": problem.detail,
        "fix": problem.fix,
        "field": problem.field or None,
        "severity": "warning" if problem.warning else "error",
    }


def _json(data: Any) -> str:
    import json

    return json.dumps(data, indent=2, ensure_ascii=False)
