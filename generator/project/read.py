"""A project as it is on disk."""

from __future__ import annotations

import os
from pathlib import Path

from generator.problems import InputError, Problem, Where, cannot_read
from generator.project import lock
from generator.project.write import is_unfinished
from generator.spec.load import SPEC
from generator.tree import EXECUTABLE, REGULAR, File, FileTree, RelPath, UnsafePath, rel_path

_NOT_OURS = {".git", ".gen", "node_modules", ".venv", "venv", "__pycache__", ".terraform", ".idea"}
_LARGEST = 1024 * 1024


def find_project(start: Path) -> Path:
    """The nearest folder from `start` up that gen made.

    Raises:
        InputError: there is none.
    """
    for folder in (start, *start.parents):
        if (folder / lock.FOLDER / "lock.yaml").is_file():
            return folder
    if is_unfinished(start):
        raise InputError(
            Problem(
                "unfinished",
                "the creation of this project was interrupted",
                "Complete it: run the same gen new again.",
                where=Where(str(start)),
            )
        )
    has_spec = (start / SPEC).is_file()
    raise InputError(
        Problem(
            "not-a-project",
            f"this is no project of gen: there is no {lock.FOLDER}/lock.yaml here or above",
            f"Bring {lock.FOLDER}/ back from your history, or make a new project from the spec: "
            f"gen new --spec {SPEC} --dir ../new"
            if has_spec
            else "Go to the project's folder, or make one: gen new my-app.",
            where=Where(str(start)),
        )
    )


def read_lock(folder: Path) -> lock.Lock:
    """The lock of a project.

    Raises:
        InputError: it cannot be trusted.
        MachineError: it cannot be read.
    """
    file = folder / lock.FOLDER / "lock.yaml"
    try:
        return lock.load(file.read_bytes(), f"{lock.FOLDER}/lock.yaml")
    except OSError as error:
        raise cannot_read(error, file) from None


def read_files(folder: Path) -> FileTree:
    """The regular files of a project up to a megabyte each, without `.gen/` and what tools install.

    Raises:
        MachineError: a folder or file cannot be read.
    """
    files: dict[RelPath, File] = {}
    try:
        for above, folders, names in os.walk(folder):
            folders[:] = [name for name in folders if name not in _NOT_OURS]
            for name in names:
                _add(files, folder, Path(above, name))
    except OSError as error:
        raise cannot_read(error, folder) from None
    return FileTree(files)


def _add(files: dict[RelPath, File], folder: Path, file: Path) -> None:
    state = file.lstat()
    if not file.is_file() or file.is_symlink() or state.st_size > _LARGEST:
        return
    try:
        path = rel_path(file.relative_to(folder).as_posix())
    except UnsafePath:
        return  # no artifact of ours has such a name
    mode = EXECUTABLE if state.st_mode & 0o100 else REGULAR
    files[path] = File(file.read_bytes(), mode)
