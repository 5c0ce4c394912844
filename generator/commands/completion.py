"""`gen completion`: the shell's completion script."""

from __future__ import annotations

import click

from generator.commands import console


@click.command(
    "completion",
    help="Print the completion script of a shell.",
    epilog='Example: eval "$(gen completion bash)"',
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    source = kind(root, {}, "gen", "_GEN_COMPLETE").source()
    console(context).result(source, {"shell": shell, "script": source})
