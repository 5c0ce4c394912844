"""YAML text to plain data, with the position of every value.

Built on the parser's events, not on a constructor: so custom tags never build anything, every
scalar keeps the text the user wrote (`3.10` stays "3.10"), and depth, aliases and size are counted
while reading, before a hostile file can cost time or memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from generator.problems import Problem, Where
from generator.spec.scalar import scalar

MAX_VALUES = 10_000  # after aliases are expanded
MAX_DEPTH = 12

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Path = tuple[str | int, ...]
"""Where a value stands in the spec: ("scale", "min")."""


class Position(NamedTuple):
    """Line and column, from 1, of a value and of its key."""

    value: tuple[int, int]
    key: tuple[int, int]


class Refused(Exception):  # noqa: N818 - a fact about a file
    """The text is no spec at all."""

    def __init__(self, problem: Problem):
        super().__init__(problem.summary)
        self.problem = problem


_YAML_ORG = "tag:yaml.org,2002:"
_PLAIN_TAGS = ("str", "int", "float", "bool", "null", "map", "seq")


class Reader:
    """One pass over the events of one file."""

    def __init__(self, file: str, text: str):
        self.file = file
        self.text = text
        self.positions: dict[Path, Position] = {}
        self.problems: list[Problem] = []
        self._order: list[Path] = []  # the keys of `positions`: those of a section are a slice
        self._anchors: dict[str, tuple[Any, dict[Path, Position]] | None] = {}
        self._values = 0
        self._last: ScalarEvent | None = None
        self._events = self._parse()

    def document(self) -> dict[str, Any]:
        """Read the one document of the text.

        Raises:
            Refused: it is not one mapping.
        """
        start = next((e for e in self._events if isinstance(e, DocumentStartEvent)), None)
        first = next(self._events) if start else None
        if first is None or (
            isinstance(first, ScalarEvent) and not first.value and not first.style
        ):
            raise self._refuse(
                "spec-empty",
                "the spec is empty",
                "Write at least `gen: 1` and `name: my-app`, or let `gen new my-app` write it.",
            )
        if not isinstance(first, MappingStartEvent):
            raise self._refuse(
                "spec-not-a-mapping",
                "a spec is a mapping of keys to values",
                "Start the file with `gen: 1` and `name: my-app`.",
                event=first,
            )
        data = self._value(first, ())
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                raise self._refuse(
                    "spec-two-documents",
                    "a second document starts here; a spec is one document",
                    "Remove the `---` and what follows it; differences between environments "
                    "go under `environments:`.",
                    event=event,
                )
        assert isinstance(data, dict)
        return data

    def _parse(self) -> Iterator[Event]:
        try:
            for event in yaml.parse(self.text, Loader=_LOADER):
                if isinstance(event, ScalarEvent):
                    self._last = event
                yield event
        except MarkedYAMLError as error:
            raise self._syntax(error) from None
        except YAMLError as error:
            raise self._refuse(
                "spec-syntax",
                "this cannot be read as YAML",
                "Check the file with a YAML linter.",
                detail=str(error).split("\n")[0],
            ) from None

    def _syntax(self, error: MarkedYAMLError) -> Refused:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        above = error.context_mark
        opened = _unclosed(error, self._last, line)
        lines = self.text.splitlines()
        what, fix = _in_words(
            error.problem or "", lines[line][column:] if line < len(lines) else ""
        )
        if opened:
            (line, column), what = opened, "a quote is opened here and not closed on this line"
            fix = 'Close the quote. A quote inside double quotes is written \\".'
        elif above and above.line < line and "flow" in (error.context or ""):
            what = f"a bracket is opened here and not closed before line {line + 1}"
            fix = "Close the bracket, and put a comma between its entries."
            line, column = above.line, above.column
        return self._refuse("spec-syntax", what, fix, place=(line + 1, column + 1))

    def _refuse(
        self,
        code: str,
        summary: str,
        fix: str,
        *,
        event: Event | None = None,
        detail: str = "",
        place: tuple[int, int] = (1, 1),
    ) -> Refused:
        place = place if event is None else _mark(event)
        return Refused(Problem(code, summary, fix, detail, Where(self.file, *place)))

    def _count(self, amount: int, path: Path, event: Event) -> None:
        self._values += amount
        if self._values > MAX_VALUES or len(path) > MAX_DEPTH:
            raise self._refuse(
                "spec-too-deep" if len(path) > MAX_DEPTH else "spec-too-many-values",
                f"the spec holds more than {MAX_VALUES:,} values once its aliases are expanded"
                if len(path) <= MAX_DEPTH
                else f"more than {MAX_DEPTH} levels of nesting",
                "A spec needs a few dozen values and four levels; remove what repeats itself.",
                event=event,
            )

    def _value(self, event: Event, path: Path) -> Any:
        self._count(1, path, event)
        if isinstance(event, AliasEvent):
            return self._alias(event, path)
        anchor: str | None = getattr(event, "anchor", None)
        if anchor:
            self._anchors[anchor] = None  # known, but not complete: an alias inside is a circle
        tag, begin = self._tag(event), len(self._order)
        if isinstance(event, ScalarEvent):
            quoted = bool(event.style) or tag in {"!", _YAML_ORG + "str"}
            value: Any = event.value if quoted else scalar(str(event.value))
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(path)
        else:
            value = self._mapping(path)
        self._place(path, Position(_mark(event), _mark(event)))
        if anchor:
            below = {p[len(path) :]: self.positions[p] for p in self._order[begin:]}
            self._anchors[anchor] = (value, below)
        return value

    def _place(self, path: Path, position: Position) -> None:
        if path not in self.positions:
            self._order.append(path)
            self.positions[path] = position

    def _tag(self, event: Event) -> str:
        tag = str(getattr(event, "tag", None) or "")
        if tag and tag != "!" and tag.removeprefix(_YAML_ORG) not in _PLAIN_TAGS:
            raise self._refuse(
                "spec-custom-tag",
                f"the tag {tag.replace(_YAML_ORG, '!!')} is not allowed",
                "Remove the tag; a spec is plain data.",
                event=event,
            )
        return tag

    def _alias(self, event: AliasEvent, path: Path) -> Any:
        name = str(event.anchor)
        kept = self._anchors.get(name, ...)
        if kept is ... or kept is None:
            raise self._refuse(
                "spec-bad-alias",
                f"*{name} stands for "
                + ("itself" if kept is None else f"nothing: there is no &{name} above"),
                "Write the value out.",
                event=event,
            )
        value, below = kept
        self._count(len(below), path, event)
        for rest, position in below.items():
            self._place(path + rest, position)
        return value

    def _sequence(self, path: Path) -> list[Any]:
        items: list[Any] = []
        for event in self._events:
            if isinstance(event, SequenceEndEvent):
                break
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        items: dict[str, Any] = {}
        inherited: list[dict[str, Any]] = []
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent):
                raise self._refuse(
                    "spec-bad-key", "a key must be a word", "Write `key: value`.", event=event
                )
            self._tag(event)
            key, place = str(event.value), _mark(event)
            held = next(self._events)
            value = self._value(held, (*path, key))
            if key == "<<" and not event.style:
                inherited += self._inherited(value, held)
                continue
            if key in items:
                self._twice((*path, key), place)
            items[key] = value
            # People look for a section at its key, not where the next line begins; and an empty
            # value has its mark at the next token, wherever that is.
            at = _mark(held)
            if value is None or (at[0] != place[0] and not isinstance(held, ScalarEvent)):
                at = place
            self.positions[(*path, key)] = Position(at, place)
        for mapping in inherited:
            items = {**mapping, **items}
        return items

    def _inherited(self, value: Any, event: Event) -> list[dict[str, Any]]:
        """What `<<` brings in: a mapping, or a list of them."""
        mappings = value if isinstance(value, list) else [value]
        if not all(isinstance(mapping, dict) for mapping in mappings):
            raise self._refuse(
                "spec-bad-merge",
                "<< takes the keys of a mapping, and this is none",
                "Write `<<: *name`, where `&name` stands before a mapping above.",
                event=event,
            )
        return mappings

    def _twice(self, path: Path, place: tuple[int, int]) -> None:
        first = self.positions[path].key[0]
        field = ".".join(map(str, path))
        self.problems.append(
            Problem(
                "spec-duplicate-key",
                f"{path[-1]} is set twice; the other is in line {first}",
                "Keep one of them.",
                where=Where(self.file, *place),
                field=field,
            )
        )


def _unclosed(
    error: MarkedYAMLError, last: ScalarEvent | None, line: int
) -> tuple[int, int] | None:
    """Where the quote opens that swallowed lines up to the next quote. Only what follows that one
    is wrong to a parser, but people look for the line where it opens."""
    if error.context_mark and "found unexpected" in (error.problem or ""):
        return error.context_mark.line, error.context_mark.column
    if last is None or last.style not in {'"', "'"}:
        return None
    start, end = last.start_mark, last.end_mark
    return (start.line, start.column) if start and end and start.line < end.line == line else None


def _in_words(said: str, rest: str) -> tuple[str, str]:
    """What the parser says about the rest of a line, in the words of somebody who writes a spec."""
    if rest.startswith("\t"):
        return "a tab indents this line", "Indent with blanks: YAML forbids tabs there."
    if "escape" in said:
        return (
            "a backslash in double quotes begins an escape, and there is no such one",
            "Write \\\\ for a backslash, or use single quotes, in which it is only itself.",
        )
    if "cannot start any token" in said:
        return f"a value cannot start with {rest[:1]}", "Put the value in quotes."
    if "mapping values" in said:
        return (
            "a second `: ` stands in this line",
            "Put text that holds `: ` in quotes; or check the indentation here.",
        )
    if "expected <block end>" in said or "expected key" in said or "expected ':'" in said:
        return (
            "this line does not fit the section it stands in",
            "Give all keys of a section the same indentation, each as `key: value`.",
        )
    return said or "this cannot be read as YAML", "Check indentation and quotes around this place."


def _mark(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)
