"""One module a command: parse, call one function, print."""

from __future__ import annotations

import datetime as dt
import os

import click

from generator.console import Console


def console(context: click.Context) -> Console:
    """The console as the common options ask for it."""
    meta = context.find_root().meta
    return Console(str(meta.get("output", "text")), quiet=bool(meta.get("quiet", False)))


def today() -> dt.date:
    """The day by which ends of support are judged. SOURCE_DATE_EPOCH can name another than today,
    as in all reproducible builds."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal():
        return dt.datetime.fromtimestamp(int(epoch), dt.UTC).date()
    return dt.date.today()
