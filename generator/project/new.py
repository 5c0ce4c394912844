"""A new project: its spec, its artifacts and its `.gen/`, as one tree, and its birth on disk."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from generator import facts, generate, targets
from generator.problems import GenError, InputError, Problem, Where
from generator.project.lock import lock_of, state_files
from generator.project.write import create
from generator.spec import edit, schema, starter
from generator.spec.load import SPEC, read_file, read_text
from generator.spec.model import Server
from generator.spec.types import Wrong
from generator.spec.words import app_name
from generator.tree import File, FileTree, RelPath


class Born(NamedTuple):
    """What `gen new` made."""

    folder: Path
    files: FileTree
    checked: generate.Checked


class Wish(NamedTuple):
    """What the command line asks for."""

    name: str | None
    spec: Path | None
    targets: tuple[str, ...] | None
    runtime: str | None
    sets: Sequence[str]
    folder: Path | None


def new(wish: Wish, today: dt.date) -> Born:
    """Make a project.

    Raises:
        InputError: the wish, the spec or the folder is wrong; nothing was written.
        MachineError: the disk is in the way; nothing was written.
    """
    if wish.name is not None and wish.spec is None:
        _check_name(wish.name)
    text, file, edits = _spec_text(wish)
    edits += [edit.parse(assignment) for assignment in wish.sets]
    try:
        spec = edit.apply(text, edits).encode() if isinstance(text, str) else text
        checked = generate.load(spec, file, today)
    except InputError as error:
        if wish.targets is not None:
            edits.append(edit.Edit(("targets",), "", "--targets"))
        raise _from_options(error, edits) from None
    name = checked.project.base.name
    artifacts = generate.files(checked)
    lock = lock_of(spec, checked.resolved, artifacts)
    whole = FileTree(
        {
            **artifacts,
            RelPath(SPEC): File(spec),
            **state_files(lock, artifacts, schema.text().encode()),
        }
    )
    folder = wish.folder or Path(name)
    create(Path.cwd() / folder, whole)
    return Born(folder, whole, checked)


def _check_name(name: str) -> None:
    try:
        app_name(name)
    except Wrong as wrong:
        raise InputError(
            Problem(wrong.code, wrong.summary, wrong.fix, wrong.detail, Where("NAME"))
        ) from None


def _spec_text(wish: Wish) -> tuple[str | bytes, str, list[edit.Edit]]:
    """The text to start from, the name messages call it by, and the edits that options ask for."""
    if wish.spec is None:
        if wish.name is None:
            raise InputError(
                Problem(
                    "no-name",
                    "the app has no name",
                    "Write gen new my-app, or gen new --spec FILE.",
                )
            )
        language = wish.runtime or "nodejs"
        chosen = _expanded(wish.targets or ("all",))
        known = tuple(target for target in chosen if target in targets.AVAILABLE)
        systems = frozenset({Server().os} if "server" in known else ())
        version = facts.default_runtime(language, known, systems)
        return starter.starter(
            wish.name, chosen, language, version, facts.product("kubernetes").default
        ), SPEC, []  # fmt: skip
    raw = read_file(wish.spec)
    edits = []
    if wish.name is not None:
        # Quoted where it might be anything: the spec's own check refuses it, with all else.
        plain = re.fullmatch("[A-Za-z][A-Za-z0-9-]*", wish.name)
        name = wish.name if plain else json.dumps(wish.name)
        edits.append(edit.Edit(("name",), name, "NAME"))
    if wish.targets is not None:
        listed = f"[{', '.join(_expanded(wish.targets))}]"
        edits.append(edit.Edit(("targets",), listed, "--targets"))
    if wish.runtime is not None:
        edits.append(edit.Edit(("runtime", "language"), wish.runtime, "--runtime"))
    if not edits and not wish.sets:
        return raw, str(wish.spec), []
    read_text(raw, str(wish.spec))
    return raw.decode("utf-8-sig"), str(wish.spec), edits


def _expanded(chosen: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(targets.AVAILABLE) if chosen == ("all",) else chosen


def _from_options(error: GenError, edits: Sequence[edit.Edit]) -> InputError:
    """Point the problems about a key that an option set at the option."""
    problems = []
    for problem in error.problems:
        set_by = next(
            (e for e in edits if _covers(".".join(map(str, e.path)), problem.field)), None
        )
        problems.append(problem._replace(where=Where(set_by.source)) if set_by else problem)
    return InputError(problems, error.sources)


def _covers(key: str, field: str) -> bool:
    return field == key or field.startswith((key + ".", key + "["))
