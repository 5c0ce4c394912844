"""`.gen/`: what gen wrote here last. Readable, sorted, undated, the same on every machine.

`lock.yaml` lists every generated file with the hash of its content; `base/` keeps those contents, so
that an update can tell the user's edits from ours.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from generator import __version__
from generator.problems import InputError, Problem, Where
from generator.render.quoting import as_yaml
from generator.targets import Resolved
from generator.tree import EXECUTABLE, File, FileTree, RelPath, rel_path

FOLDER = ".gen"
FORMAT = 1
_HEAD = """\
# What gen wrote here last: how it tells your edits from its own.
# Commit it. Not for editing.
"""


class Entry(NamedTuple):
    """A generated file: the hash of its bytes, and whether it is executable."""

    sha256: str
    executable: bool


class Lock(NamedTuple):
    """The state of a project: hash of its spec, the defaults that age, the files."""

    spec: str
    resolved: Resolved
    files: dict[RelPath, Entry]


def lock_of(spec: bytes, resolved: Resolved, files: FileTree) -> Lock:
    """The lock of freshly rendered files."""
    entries = {path: Entry(digest(f.content), f.mode == EXECUTABLE) for path, f in files.items()}
    return Lock(digest(spec), resolved, entries)


def load(content: bytes, file: str) -> Lock:
    """Read a `lock.yaml`.

    Raises:
        InputError: it is from another gen, half-merged by git, or not ours at all.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    def refuse(code: str, summary: str, fix: str) -> InputError:
        return InputError(Problem(code, summary, fix, where=Where(file)))

    if b"<<<<<<<" in content:
        raise refuse(
            "lock-conflict",
            "git left a conflict in this file",
            "Keep either side of each conflict: it can cost a merge conflict later, never an edit.",
        )
    try:
        data = YAML(typ="safe", pure=True).load(content.decode())
        version = data["format"]
        if version != FORMAT:
            raise refuse(
                "lock-format",
                f"this project was written by gen {data['gen']}, in a format this gen does not know",
                f"Use gen {data['gen']} or newer.",
            )
        resolved = data["resolved"]
        return Lock(
            str(data["spec"]),
            Resolved(
                tuple(resolved["targets"]),
                resolved["runtime"],
                resolved["kubernetes"],
                resolved["release"],
            ),
            {rel_path(path): _entry(value) for path, value in (data["files"] or {}).items()},
        )
    except (YAMLError, UnicodeDecodeError, KeyError, TypeError, AttributeError, ValueError):
        raise refuse(
            "lock-unreadable",
            "this file was changed by hand and cannot be read",
            f"Bring it back from your history: git checkout -- {file}.",
        ) from None


def _entry(value: str) -> Entry:
    sha256, _, flag = value.partition(" ")
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError(value)
    return Entry(sha256, flag == "x")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def dump(lock: Lock) -> bytes:
    """The text of `lock.yaml`: a line a file, so that git merges it well."""
    lines = [
        _HEAD + f"format: {FORMAT}",
        f"gen: {as_yaml(__version__)}",
        f"spec: {lock.spec}",
        "resolved:",
        f"  kubernetes: {as_yaml(lock.resolved.kubernetes)}",
        f"  release: {as_yaml(lock.resolved.release)}",
        f"  runtime: {as_yaml(lock.resolved.runtime)}",
        f"  targets: {as_yaml(lock.resolved.targets)}",
        "files:",
    ]
    for path, entry in sorted(lock.files.items()):
        lines.append(f"  {as_yaml(path)}: {entry.sha256}{' x' if entry.executable else ''}")
    return ("\n".join(lines) + "\n").encode()


def state_files(lock: Lock, files: FileTree, schema: bytes) -> dict[RelPath, File]:
    """The content of `.gen/`: lock, the stored bases, and the schema that editors complete from."""
    bases = dump_bases(files)
    return {
        RelPath(f"{FOLDER}/lock.yaml"): File(dump(lock)),
        RelPath(f"{FOLDER}/schema.json"): File(schema),
        RelPath(f"{FOLDER}/base/{digest(bases)[:16]}"): File(bases),
    }


def dump_bases(files: FileTree) -> bytes:
    """The contents of generated files, each once: a line `HASH SIZE`, the bytes, a newline.

    One file, named by its own hash: two branches that wrote two of them never collide, and whatever
    hash a merged lock names is in one or the other. A file for each content would double the
    number of files of a project.
    """
    contents = {digest(file.content): file.content for file in files.values()}
    parts = (b"%s %d\n%s\n" % (k.encode(), len(v), v) for k, v in sorted(contents.items()))
    return b"".join(parts)
