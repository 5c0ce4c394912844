"""What an image is made of: the project, its Dockerfile, and the version that git gives it."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from generator import generate
from generator.check.artifacts import Instruction, dockerfile
from generator.problems import InputError, Problem, Where, machine_error
from generator.project.read import find_project, read_lock
from generator.render.context import Context, context
from generator.spec.load import SPEC, read_file
from generator.tree import File, FileTree, RelPath

DOCKERFILE = "Dockerfile"
_NO_VERSION = "0.0.0-local"
_DIRTY = "-dirty"
_CODE = (".", ":!releases", ":!ansible/inventories/*/known_hosts")
"""What makes a version: all but the notes of what runs where, which deployments write."""


class Source(NamedTuple):
    """A project as its image sees it. `values` is what the templates saw, the Makefile among them."""

    folder: Path
    checked: generate.Checked
    values: Context
    version: str

    @property
    def name(self) -> str:
        return self.checked.project.base.name


def read_source(start: Path, today: dt.date) -> Source:
    """The project that `start` is in.

    Raises:
        InputError: no project, or a wrong spec.
    """
    folder = find_project(start)
    locked = read_lock(folder)
    checked = generate.load(read_file(folder / SPEC), SPEC, today, locked.resolved)
    return Source(folder, checked, context(checked.project, checked.resolved), _version(folder))


def read_dockerfile(folder: Path) -> tuple[str, list[Instruction]]:
    """The text and the instructions of the project's Dockerfile.

    Raises:
        InputError: there is none.
        MachineError: it cannot be read.
    """
    file = folder / DOCKERFILE
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise InputError(
            Problem(
                "no-dockerfile",
                f"this project has no {DOCKERFILE}",
                f"Add container to the targets of {SPEC}, or bring the file back.",
                where=Where(SPEC),
                field="targets",
            )
        ) from None
    except OSError as error:
        raise machine_error(error, file) from None
    tree = FileTree({RelPath(DOCKERFILE): File(text.encode())})
    return text, dockerfile(tree, DOCKERFILE)


def build_args(source: Source) -> dict[str, str]:
    """The arguments that the Makefile passes, but for the one that only BuildKit knows."""
    return {
        "APP_VERSION": source.version,
        "REVISION": _git(source.folder, "rev-parse", "HEAD"),
        "CREATED": _git(source.folder, "log", "-1", "--format=%cI"),
    }


def checked_tag(tag: str) -> str:
    """A tag that every registry takes.

    Raises:
        InputError: it is none.
    """
    if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", tag):
        return tag
    raise InputError(
        Problem(
            "bad-tag",
            f"{tag!r} cannot be the tag of an image",
            "Choose one with --tag: up to 128 letters, digits, dots, hyphens and underscores.",
            "Without --tag it is the version, which git makes of the nearest tag.",
        )
    )


def is_of_a_commit(version: str) -> bool:
    """Whether a version names a commit, so that anybody can see and build what it is."""
    return version != _NO_VERSION and not version.endswith(_DIRTY)


def _version(folder: Path) -> str:
    """The version of what is in the folder, as the generated Makefile finds it."""
    tag = _git(folder, "describe", "--tags", "--exact-match")
    commit = _git(folder, "log", "-1", "--format=%H", "--", *_CODE)
    described = tag or (commit and _git(folder, "describe", "--tags", "--always", commit))
    if not described:
        return _NO_VERSION
    changed = _git(folder, "diff", "--name-only", "HEAD", "--", *_CODE)
    return re.sub("[/+]", "-", described) + (_DIRTY if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    """What git says, or nothing where it has nothing to say."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
