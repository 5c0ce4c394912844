"""Container images: built by a Docker engine, pushed to a registry.

The generated Makefile does the same with the docker and aws commands; nothing here is needed to
release. This room asks the engine and AWS, and writes no file.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told what goes on while it does.

    A text with a `part` takes the place of what was said of this part before; an empty one ends
    the part. `amount` says how far it is and changes often.
    """

    def __call__(self, text: str, *, part: str = "", amount: str = "") -> None: ...


def megabytes(size: int) -> str:
    """A number of bytes as docker shows it."""
    return f"{size / 1e6:.1f} MB"
