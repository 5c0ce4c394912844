"""YAML to plain data, with the position of every value.

Built on the parser's events, not on a constructor: so custom tags never build anything, every
scalar keeps the text the user wrote (`3.10` stays "3.10"), and depth, aliases and size are counted
while reading, before a hostile file can cost time or memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

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

from generator.problems import InputError, Problem, Where, machine_error

SPEC = "app.yaml"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MAX_BYTES = 512 * 1024
MAX_VALUES = 10_000  # after aliases are expanded
MAX_DEPTH = 12

Path = tuple[str | int, ...]
"""Where a value stands in the spec: ("scale", "min")."""


class Scalar(str):
    """The text of an unquoted scalar that some YAML reader takes for something else than text.

    `kind` says for what: int, float, bool, date. Text that is text to every reader is a plain str.
    """

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, text: str, kind: str) -> Self:
        scalar = super().__new__(cls, text)
        scalar.kind = kind
        return scalar


class Position(NamedTuple):
    """Line and column, from 1, of a value and of its key."""

    value: tuple[int, int]
    key: tuple[int, int]


class Document(NamedTuple):
    """A spec file as read: `data` holds dict, list, str, Scalar and None only."""

    file: str
    text: str
    data: dict[str, Any]
    positions: dict[Path, Position]

    def where(self, path: Path, *, key: bool = False) -> Where:
        """The place of `path`, or of the nearest section above it that is in the file."""
        while path and path not in self.positions:
            path, key = path[:-1], True
        position = self.positions.get(path)
        if position is None:
            return Where(self.file, 1, 1)
        return Where(self.file, *(position.key if key else position.value))


class _Refused(Exception):  # noqa: N818 - not an error of the program
    def __init__(self, problem: Problem):
        self.problem = problem


def read(raw: bytes, file: str) -> tuple[Document | None, list[Problem]]:
    """Read the bytes of a spec file.

    Returns the document, or None where it is no YAML mapping at all, and every problem found.
    """
    try:
        text = _decode(raw, file)
        reader = _Reader(file, text)
        data = reader.document()
    except _Refused as refused:
        return None, [refused.problem]
    return Document(file, text, data, reader.positions), reader.problems


def read_text(spec: bytes, file: str) -> None:
    """Refuse bytes that are no spec at all, before anything edits them."""
    document, problems = read(spec, file)
    if document is None or problems:
        raise InputError(problems, {file: document.text} if document else {})


def read_file(file: os.PathLike[str]) -> bytes:
    """The bytes of a spec file; of one that is too large, a few more than allowed.

    Raises:
        InputError: there is no such file, or it is none, or it may not be read.
        MachineError: the disk fails.
    """
    try:
        with open(file, "rb") as handle:
            return handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problem = Problem(
            "spec-missing",
            f"there is no {file}",
            "Name an existing file, or leave --spec out: gen new NAME writes one.",
            where=Where(str(file)),
        )
    except IsADirectoryError:
        problem = Problem(
            "spec-is-a-folder",
            f"{file} is a folder",
            f"Name the file in it, such as {os.path.join(file, SPEC)}.",
            where=Where(str(file)),
        )
    except PermissionError:
        problem = Problem(
            "spec-unreadable",
            f"{file} may not be read by you",
            f"Give yourself the right: chmod u+r {file}.",
            where=Where(str(file)),
        )
    except OSError as error:
        raise machine_error(error, file) from None
    raise InputError(problem)


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise _Refused(
            Problem(
                "spec-too-large",
                f"the spec has {len(raw):,} bytes, the limit is {MAX_BYTES:,}",
                "Keep data out of the spec: put large values into a file of the app.",
                where=Where(file),
            )
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _Refused(
            Problem(
                "spec-not-utf8",
                f"byte {error.start} (0x{raw[error.start]:02x}) is not UTF-8",
                "Save the file as UTF-8.",
                where=Where(file, line, error.start - raw.rfind(b"\n", 0, error.start)),
            )
        ) from None
    bad = re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]", text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        raise _Refused(
            Problem(
                "spec-control-character",
                f"control character U+{ord(bad.group()):04X} in the spec",
                "Remove it. In a double-quoted string it could be written as an escape, "
                "but no value of the spec may hold it.",
                where=Where(file, line, bad.start() - text.rfind("\n", 0, bad.start())),
            )
        )
    return text


_AMBIGUOUS = re.compile(r"(?i:y|n|yes|no|on|off)")  # booleans for a YAML 1.1 reader
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?([Tt ].*)?")
_INT = re.compile(
    r"[-+]?(0o?[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+|[0-9][0-9_]*|[0-9][0-9_]*(:[0-5]?[0-9])+)"
)
_FLOAT = re.compile(
    r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def scalar(text: str) -> str | Scalar | None:
    """What an unquoted scalar is: None, text, or a `Scalar` with its kind."""
    if _NULL.fullmatch(text):
        return None
    for kind, pattern in (
        ("bool", _BOOL),
        ("bool", _AMBIGUOUS),
        ("int", _INT),
        ("float", _FLOAT),
        ("date", _DATE),
    ):
        if pattern.fullmatch(text):
            return Scalar(text, kind)
    return text


_TAGS = ("tag:yaml.org,2002:", "!")


class _Reader:
    """One pass over the events of one file."""

    def __init__(self, file: str, text: str):
        self.file = file
        self.text = text
        self.positions: dict[Path, Position] = {}
        self.problems: list[Problem] = []
        self._anchors: dict[str, tuple[Any, dict[Path, Position]] | None] = {}
        self._values = 0
        self._last: ScalarEvent | None = None
        self._events = self._parse()

    def document(self) -> dict[str, Any]:
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
        except (YAMLError, RecursionError) as error:
            raise self._refuse(
                "spec-syntax",
                "this cannot be read as YAML",
                "Check the file with a YAML linter.",
                detail=str(error).split("\n")[0],
            ) from None

    def _syntax(self, error: MarkedYAMLError) -> _Refused:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        what = error.problem or "this cannot be read as YAML"
        fix = "Check indentation and quotes around this place."
        opened = self._unclosed(error, line)
        if opened:
            (line, column), what = opened, "a quote is opened here and not closed on this line"
            fix = 'Close the quote. A quote inside double quotes is written \\".'
        elif self._at(line, column) == "\t":
            what, fix = "a tab indents this line", "Indent with blanks: YAML forbids tabs there."
        elif self._at(line, column) in ("@", "`", "%"):
            what = f"a value cannot start with {self._at(line, column)}"
            fix = "Put the value in quotes."
        elif "mapping values" in what:
            what, fix = "a second `: ` in one line", "Put text that holds `: ` in quotes."
        return self._refuse(
            "spec-syntax", what, fix, detail=error.context or "", place=(line + 1, column + 1)
        )

    def _at(self, line: int, column: int) -> str:
        lines = self.text.splitlines()
        return lines[line][column : column + 1] if line < len(lines) else ""

    def _unclosed(self, error: MarkedYAMLError, line: int) -> tuple[int, int] | None:
        # A forgotten quote swallows lines up to the next quote, and only what follows that one is
        # wrong to a parser. People look for the line where it opens.
        if error.context_mark and "quoted scalar" in (error.context or ""):
            return error.context_mark.line, error.context_mark.column
        last = self._last
        if (
            last is not None
            and last.style in ('"', "'")
            and last.start_mark.line < last.end_mark.line == line
        ):
            return last.start_mark.line, last.start_mark.column
        return None

    def _refuse(
        self,
        code: str,
        summary: str,
        fix: str,
        *,
        event: Event | None = None,
        detail: str = "",
        place: tuple[int, int] = (1, 1),
    ) -> _Refused:
        if event is not None:
            place = _mark(event)
        return _Refused(Problem(code, summary, fix, detail, Where(self.file, *place)))

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
        tag = str(getattr(event, "tag", None) or "")
        if tag and not (
            tag == "!"
            or tag.removeprefix(_TAGS[0]) in ("str", "int", "float", "bool", "null", "map", "seq")
        ):
            raise self._refuse(
                "spec-custom-tag",
                f"the tag {tag} is not allowed",
                "Remove the tag; a spec is plain data.",
                event=event,
            )
        if isinstance(event, ScalarEvent):
            quoted = event.style in ('"', "'", "|", ">") or tag in ("!", _TAGS[0] + "str")
            value: Any = event.value if quoted else scalar(event.value)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(path)
        else:
            value = self._mapping(path)
        self.positions.setdefault(path, Position(_mark(event), _mark(event)))
        if anchor:
            below = {
                p[len(path) :]: at for p, at in self.positions.items() if p[: len(path)] == path
            }
            self._anchors[anchor] = (value, below)
        return value

    def _alias(self, event: AliasEvent, path: Path) -> Any:
        kept = self._anchors.get(event.anchor, ...)
        if kept is ... or kept is None:
            raise self._refuse(
                "spec-bad-alias",
                f"*{event.anchor} stands for "
                + ("itself" if kept is None else "nothing: no &" + event.anchor + " above"),
                "Write the value out.",
                event=event,
            )
        value, below = kept
        self._count(len(below), path, event)
        for rest, position in below.items():
            self.positions.setdefault(path + rest, position)
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
        inherited: list[Any] = []
        for event in self._events:
            if isinstance(event, MappingEndEvent):
                break
            if not isinstance(event, ScalarEvent):
                raise self._refuse(
                    "spec-bad-key", "a key must be a word", "Write `key: value`.", event=event
                )
            key, place = str(event.value), _mark(event)
            merge = key == "<<" and not event.style
            held = next(self._events)
            value = self._value(held, (*path, key))
            if merge:
                inherited += value if isinstance(value, list) else [value]
                self.positions.pop((*path, key), None)
                continue
            if key in items:
                first = self.positions[(*path, key)].key
                self.problems.append(
                    Problem(
                        "spec-duplicate-key",
                        f"{key} is set twice; the other is in line {first[0]}",
                        "Keep one of them.",
                        where=Where(self.file, *place),
                        field=".".join(map(str, (*path, key))),
                    )
                )
            items[key] = value
            # An empty value has its mark where the next token stands: people look at the key.
            at = place if isinstance(held, ScalarEvent) and value is None else _mark(held)
            self.positions[(*path, key)] = Position(at, place)
        for mapping in inherited:
            if isinstance(mapping, dict):
                items = {**mapping, **items}
        return items


def _mark(event: Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1
