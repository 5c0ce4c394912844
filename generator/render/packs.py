"""The door of `render`: reads a template folder from disk into a `Pack`."""

from __future__ import annotations

import os
import re
from pathlib import Path

from generator.render.engine import Pack, Source

_PACKAGE = Path(__file__).resolve().parent.parent


def shipped() -> Path:
    """The folder of our own templates: inside the wheel, or beside the package in a checkout."""
    inside = _PACKAGE / "_templates"
    return inside if inside.is_dir() else _PACKAGE.parent / "templates"


def read_pack(folder: Path) -> Pack:
    """Read a template folder, in sorted order."""
    sources = tuple(_walk(str(folder), ""))
    settings = next(s.content.decode() for s in sources if s.path == "copier.yml")
    return Pack(sources, _exclusions(settings))


def _walk(folder: str, above: str) -> list[Source]:
    sources: list[Source] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            path = above + entry.name
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    sources += _walk(entry.path, path + "/")
                continue
            with open(entry.path, "rb") as file:
                content = file.read()
            executable = bool(entry.stat(follow_symlinks=False).st_mode & 0o100)
            sources.append(Source(path, content, executable))
    return sources


def _exclusions(settings: str) -> tuple[str, ...]:
    """The `_exclude` list of our own copier.yml, whose entries are plain or double-quoted.

    Read by form, not by a YAML parser: the file is ours, a test holds the two readings equal, and
    this runs in every command.
    """
    _, _, rest = settings.partition("\n_exclude:\n")
    items = []
    for line in rest.splitlines():
        match = re.fullmatch(r'  - (?:"(.*)"|(\S+))', line)
        if not match:
            if line and not line.startswith(("  ", "#")):
                break
            continue
        items.append(match[1] if match[1] is not None else match[2])
    return tuple(items)
