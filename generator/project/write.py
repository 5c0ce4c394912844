"""The one place that writes a project: a new one appears whole or not at all.

All files go into a staging folder first. For a folder that does not exist yet the staging folder is
its sibling and is renamed at the end. An empty folder that exists stays the same folder (it may be a
mount, or where the user's shell stands), so its staging folder is inside, complete before the first
entry moves out, and a later run moves on what a crash left behind. A killed process holds no lock.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from generator.problems import InputError, MachineError, Problem, Where, machine_error
from generator.tree import FileTree

try:
    import fcntl
except ImportError:  # not a POSIX system: two runs at once are not noticed there
    fcntl = None  # type: ignore[assignment]

STAGING = ".gen-new"
_UNFINISHED = STAGING + ".part"
_OWNER = ".gen-owner"


def create(folder: Path, files: FileTree) -> None:
    """Write `files` as a new project.

    Raises:
        InputError: something is there already; nothing was touched.
        MachineError: no permission, no space, or another run is at it; nothing is left behind.
    """
    try:
        exists = _free(folder)
        made = [] if exists else _make_parents(folder.parent)
        try:
            _create(folder, files, inside=exists)
        except BaseException:
            for parent in made:
                with contextlib.suppress(OSError):
                    parent.rmdir()
            raise
    except OSError as error:
        raise machine_error(error, folder) from None


def _free(folder: Path) -> bool:
    """Whether `folder` exists, empty; refuse it when it is taken."""
    if folder.is_symlink():
        leads = f"to {folder.resolve()}" if folder.exists() else "nowhere"
        fix = "Name the folder itself with --dir, or remove the link."
        raise _taken(folder, f"this is a link that leads {leads}", fix)
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise _taken(folder, "this is not a folder", "Choose another name, or another --dir.")
    names = sorted(os.listdir(folder))
    if STAGING in names:
        _finish(folder)
        raise _taken(
            folder,
            "this folder holds a project whose creation was interrupted; it is complete now",
            f"Look at it: cd {folder} && gen check.",
        )
    if [name for name in names if name != _UNFINISHED]:
        what = ", ".join(names[:3]) + (" and more" if len(names) > 3 else "")
        raise _taken(
            folder, f"this folder is not empty: {what}", "Choose another name, or another --dir."
        )
    return True


def is_unfinished(folder: Path) -> bool:
    """Whether the creation of a project in `folder` was cut off after all of it had been written."""
    return (folder / STAGING).is_dir()


def _taken(folder: Path, summary: str, fix: str) -> InputError:
    return InputError(
        Problem("folder-occupied", summary, fix, "Nothing was written.", Where(str(folder)))
    )


def _make_parents(folder: Path) -> list[Path]:
    """Make the folders that are missing above a project; gives them deepest first."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    above = missing[-1].parent if missing else folder
    if not above.is_dir():
        raise _taken(above, "this is a file, so nothing can be below it", "Choose another --dir.")
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _create(folder: Path, files: FileTree, *, inside: bool) -> None:
    staging = folder / _UNFINISHED if inside else folder.parent / _sibling(folder.name)
    with _staging(staging):
        _fill(staging, files)
        (staging / _OWNER).unlink()
        if inside:
            staging.rename(folder / STAGING)
            _finish(folder)
        else:
            staging.rename(folder)


def _sibling(name: str) -> str:
    """The staging folder beside a folder; a hash stands for a name too long to be longer still."""
    raw = os.fsencode(name)
    return f".{name if len(raw) < 200 else hashlib.sha256(raw).hexdigest()}{STAGING}"


@contextlib.contextmanager
def _staging(path: Path) -> Iterator[None]:
    """The staging folder, ours alone; removed if it is still there at the end."""
    fresh = True
    try:
        path.mkdir()
    except FileExistsError:
        fresh = False
    handle = os.open(path, os.O_RDONLY)
    try:
        if fcntl:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                raise _busy(path) from None
        if not fresh:  # its run was killed: nobody holds the lock
            for entry in path.iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        try:
            (path / _OWNER).write_text(str(os.getpid()))
            yield
        finally:
            if path.exists():
                shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(handle)


def _busy(path: Path) -> MachineError:
    try:
        owner = f"process {int((path / _OWNER).read_text())}"
    except (OSError, ValueError):
        owner = "another process"
    return MachineError(
        Problem(
            "busy",
            f"{owner} is creating this project right now",
            "Wait for it to end.",
            where=Where(str(path)),
        )
    )


def _fill(folder: Path, files: FileTree) -> None:
    made = {""}
    for path, file in files.items():
        above = path.rpartition("/")[0]
        if above not in made:
            os.makedirs(folder / above, exist_ok=True)
            made.add(above)
        handle = os.open(folder / path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
        with open(handle, "wb") as out:
            out.write(file.content)


def _finish(folder: Path) -> None:
    """Move a complete staging folder's entries out; `.gen` last, so that a project has all files."""
    staging = folder / STAGING
    for name in sorted(os.listdir(staging), key=lambda name: (name == ".gen", name)):
        (staging / name).rename(folder / name)
    staging.rmdir()
