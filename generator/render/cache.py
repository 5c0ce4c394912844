"""The user's cache of compiled templates. Nothing depends on it: any trouble means no cache."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from generator import __version__


def _file() -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME") or (
        os.environ.get("HOME", "") and os.path.join(os.environ["HOME"], ".cache")
    )
    return (
        Path(base, "gen", f"templates-{__version__}.bin") if base and os.path.isabs(base) else None
    )


def read() -> bytes:
    """The cached bytes, if they are there and nobody else could have written them."""
    file = _file()
    if file is None:
        return b""
    try:
        with open(file, "rb") as handle:
            state = os.fstat(handle.fileno())
            folder = os.stat(file.parent)
            if any(s.st_uid != os.getuid() or s.st_mode & 0o022 for s in (state, folder)):
                return b""
            return handle.read()
    except OSError:
        return b""


def write(content: bytes) -> None:
    """Replace the cache, atomically."""
    file = _file()
    if file is None:
        return
    with contextlib.suppress(OSError):
        os.makedirs(file.parent, 0o700, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent)
        try:
            with open(handle, "wb") as out:
                out.write(content)
            os.replace(name, file)
        except OSError:
            os.unlink(name)
