"""One module a command: parse, call one function, print."""

from __future__ import annotations

import click

from generator.console import Console


def console(context: click.Context) -> Console:
    """The console as the common options ask for it."""
    meta = context.find_root().meta
    return Console(str(meta.get("output", "text")), quiet=bool(meta.get("quiet", False)))
