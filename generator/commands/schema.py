"""`gen schema`: the JSON Schema of app.yaml."""

from __future__ import annotations

import json

import click

from generator.commands import console
from generator.spec.schema import text


@click.command(
    "schema",
    help="Print the JSON Schema of app.yaml.",
    epilog="Example: gen schema > app.schema.json",
)
@click.pass_context
def command(context: click.Context) -> None:
    document = text()
    console(context).result(document.rstrip("\n"), json.loads(document))
