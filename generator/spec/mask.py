"""The text of a spec as messages may show it: without what is, or may be, a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from generator.spec.load import Document
from generator.spec.parse import Path
from generator.spec.words import credential

_REFERENCE_KEYS = ("aws_secret", "aws_parameter", "kms_key")
# A value on its line: quoted, or up to what ends it in a flow mapping.
_VALUE = re.compile(r""""(?:[^"\\]|\\.)*"?|'(?:[^']|'')*'?|[^,}\]]*""")


def masked(document: Document) -> str:
    """The text with `***` in place of secrets; columns stay where they were."""
    lines = document.text.splitlines()
    for path, value in _leaves(document.data, ()):
        at = document.positions.get(path)
        if at is None or not _hides(path, value):
            continue
        row, column = at.value[0] - 1, at.value[1] - 1
        line = lines[row]
        found = _VALUE.match(line, column)
        end = found.end() if found else len(line)
        lines[row] = (line[:column] + "***".ljust(end - column) + line[end:]).rstrip()
    return "\n".join(lines)


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    elif isinstance(value, str):
        yield path, value


def _hides(path: Path, value: str) -> bool:
    section = path[2:] if path[0] == "environments" else path
    if not section or len(section) == 1:
        return False
    if section[0] == "secrets":
        return len(section) != 3 or section[2] not in _REFERENCE_KEYS
    return section[0] == "config" and bool(credential(str(section[1]), value))
