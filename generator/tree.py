"""FileTree: what a project consists of, as a value.

A path in a tree is a `RelPath`: relative, normalised, with `/`, inside the project. It is made in
one place, so that no later room has to think about `..` again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, NewType

RelPath = NewType("RelPath", str)

REGULAR = 0o644
EXECUTABLE = 0o755


class UnsafePath(ValueError):  # noqa: N818 - named for what it is
    """A name that would leave the project or cannot be a file everywhere."""


def rel_path(text: str) -> RelPath:
    """Check `text` and return it as a path inside the project.

    Raises:
        UnsafePath: absolute, empty, with `..`, `.`, a backslash or a control character.
    """
    parts = text.split("/")
    if not text or any(part in ("", ".", "..") for part in parts):
        raise UnsafePath(f"{text!r} is not a relative path inside the project")
    if "\\" in text or any(unicodedata.category(char).startswith("C") for char in text):
        raise UnsafePath(f"{text!r} has a character that no file name here may have")
    return RelPath(text)


class File(NamedTuple):
    """A regular file. `origin` names the template or the spec it came from."""

    content: bytes
    mode: int = REGULAR
    origin: str = ""


def refuse_case_twins(paths: Iterable[str]) -> None:
    """Names that differ only in case are one file on many disks.

    Raises:
        UnsafePath: two paths do.
    """
    folded: dict[str, str] = {}
    for path in paths:
        other = folded.setdefault(path.casefold(), path)
        if other != path:
            raise UnsafePath(f"{path!r} and {other!r} differ only in case")


class FileTree(Mapping[RelPath, File]):
    """Files by path, sorted. Never changed after it was made."""

    def __init__(self, files: Mapping[RelPath, File]):
        self._files = dict(sorted(files.items()))

    def __getitem__(self, path: RelPath) -> File:
        return self._files[path]

    def __iter__(self) -> Iterator[RelPath]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def find(self, path: str) -> File | None:
        """The file at a path, if there is one."""
        return self._files.get(RelPath(path))

    def text(self, path: str) -> str:
        """The content of a generated file, which is always UTF-8."""
        return self._files[RelPath(path)].content.decode()
