"""The only module that prints. Text for people (colour, carets), or one JSON document."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
        for problem in problems[:_MOST]:
            self._problem(problem, sources)
        if len(problems) > _MOST:
            _tell(f"... and {len(problems) - _MOST} more; --format json has them all")
        errors = sum(not problem.warning for problem in problems)
        if errors > 1:
            _tell(f"{errors} problems")

    def warn(self, problems: Iterable[Problem], sources: Mapping[str, str]) -> None:
        """Problems that end nothing; under --format json the command's document carries them."""
        if not self.json:
            for problem in problems:
                self._problem(problem, sources)

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Tell on stderr what goes on; nothing under --quiet or --format json."""
        progress = Progress(sys.stderr, silent=self.quiet or self.json)
        try:
            yield progress
        finally:
            progress.end()

    def _problem(self, problem: Problem, sources: Mapping[str, str]) -> None:
        paint = _Paint(sys.stderr)
        place = f"{problem.where}: " if problem.where else ""
        kind = paint(_YELLOW, "warning: ") if problem.warning else ""
        lines = [paint(_BOLD, place) + kind + paint(_BOLD, problem.summary)]
        lines += _excerpt(problem, sources, paint)
        if problem.detail:
            lines.append(f"  {problem.detail}")
        lines.append(paint(_CYAN, "  fix: ") + problem.fix)
        _tell("\n".join(lines))


class Progress:
    """What goes on, told while it does; each text is one line.

    A text with a `part` takes the place of what was said of this part before: on a terminal in
    place, below all else, and gone at the end; elsewhere as a line of its own, unless only the
    `amount` changed. An empty text ends the part.
    """

    def __init__(self, stream: TextIO, *, silent: bool = False):
        self._stream = stream
        self._silent = silent
        self._in_place = _is_terminal(stream)
        self._parts: dict[str, str] = {}
        self._amounts: dict[str, str] = {}
        self._height = 0  # of what stands in place

    def __call__(self, text: str, *, part: str = "", amount: str = "") -> None:
        if self._silent:
            return
        news = self._parts.get(part, "") != text
        if part:
            self._parts[part], self._amounts[part] = text, amount
        if self._in_place:
            self._redraw("" if part else text)
        elif text and (news or not part):
            print(text, file=self._stream, flush=True)

    def end(self) -> None:
        """Take away what stands in place."""
        self._parts.clear()
        if self._height:
            self._redraw("")

    def _redraw(self, above: str) -> None:
        size = shutil.get_terminal_size()
        parts = [f"{text} {self._amounts[part]}" for part, text in self._parts.items() if text]
        shown = [part[: size.columns - 1].rstrip() for part in parts[1 - size.lines :]]
        clear = f"\x1b[{self._height}F\x1b[J" if self._height else ""
        lines = [above, *shown] if above else shown
        print(clear + "".join(f"{line}\n" for line in lines), end="", file=self._stream, flush=True)
        self._height = len(shown)


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _tell(text: str) -> None:
    """Lines for stderr. Whether somebody still reads them must not change how a command ends."""
    with suppress(OSError):
        print(text, file=sys.stderr)


class _Paint:
    def __init__(self, stream: TextIO):
        self.on = _is_terminal(stream) and not os.environ.get("NO_COLOR")

    def __call__(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_OFF}" if self.on and text else text


_WIDTH = 100
_MOST = 100  # problems told as text: nobody reads more of them


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
