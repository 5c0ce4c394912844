"""The door of `spec`: the bytes of a file to a document.

All that a text file can do wrong is refused here; what YAML can do wrong, in `parse`.
"""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from generator.problems import InputError, Problem, Where, cannot_read
from generator.spec.parse import Path, Position, Reader, Refused

SPEC = "app.yaml"
MAX_BYTES = 512 * 1024


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


def read(raw: bytes, file: str) -> tuple[Document, list[Problem]]:
    """Read the bytes of a spec file.

    Returns the document and the problems found on the way.

    Raises:
        InputError: it is no YAML mapping at all.
    """
    text = ""
    try:
        text = _decode(raw, file)
        reader = Reader(file, text)
        data = reader.document()
    except Refused as refused:
        raise InputError(refused.problem, {file: text}) from None
    return Document(file, text, data, reader.positions), reader.problems


def read_text(spec: bytes, file: str) -> None:
    """Refuse bytes that are no spec at all, before anything edits them."""
    document, problems = read(spec, file)
    if problems:
        raise InputError(problems, {file: document.text})


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
        raise cannot_read(error, file) from None
    raise InputError(problem)


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise Refused(
            Problem(
                "spec-too-large",
                f"the spec is larger than {MAX_BYTES // 1024} KiB",
                "Keep data out of the spec: put large values into a file of the app.",
                where=Where(file),
            )
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        raise Refused(
            Problem(
                "spec-not-utf8",
                f"byte {error.start} (0x{raw[error.start]:02x}) is not UTF-8",
                "Save the file as UTF-8.",
                where=Where(file, line, column),
            )
        ) from None
    bad = _CONTROL.search(text)
    if bad:
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        raise Refused(
            Problem(
                "spec-control-character",
                f"the character U+{ord(bad[0]):04X} cannot stand in the file as it is",
                f"Write it as \\u{ord(bad[0]):04x} in double quotes."
                if bad[0] in "\u2028\u2029\ufeff"
                else "Remove it; no value of the spec may hold it.",
                where=Where(file, line, column),
            )
        )
    return text


# U+2028 and U+2029 are line breaks to some YAML readers, which take the blanks around them away.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
