"""argv to exit code: finds the command, loads it when it is called, turns problems into codes.

Exit codes: 0 done; 1 differences, findings or conflicts; 2 the user's input is wrong; 3 the machine
is in the way; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import pairwise

import click

from generator import __version__
from generator.console import Console
from generator.problems import GenError, Problem

COMMANDS = ("new", "check", "image", "schema", "completion")
_MODULES = {name: f"generator.commands.{name}" for name in COMMANDS}


class _Lazy(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _MODULES:
            return None
        from importlib import import_module

        command = import_module(_MODULES[name]).command
        assert isinstance(command, click.Command)
        return with_common(command)

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _MODULES and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            hint = f' Did you mean "{close[0]}"?' if close else ""
            raise click.UsageError(f"there is no command {args[0]!r}.{hint}", context)
        return super().resolve_command(context, args)


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value not in (None, False):
        context.find_root().meta[str(parameter.name)] = value


def _enter(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None and not context.resilient_parsing:
        try:
            os.chdir(value)
        except OSError as error:
            raise click.BadParameter(f"{error.strerror}: {value}", context, parameter) from None


def with_common(command: click.Command) -> click.Command:
    """Add the options that stand before or after every command."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            with_common(below)
    have = {option for parameter in command.params for option in parameter.opts}
    for option in (
        click.Option(
            ["-C", "directory"],
            metavar="DIR",
            expose_value=False,
            is_eager=True,
            callback=_enter,
            help="Run as if started in DIR.",
        ),
        click.Option(
            ["--format", "output"],
            type=click.Choice(("text", "json")),
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help="Output for people or for machines.",
        ),
        click.Option(
            ["--quiet", "-q"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help="Print results and problems only.",
        ),
    ):
        if not have & set(option.opts):
            command.params.append(option)
    return command


_GROUP = with_common(
    _Lazy(
        "gen",
        help="One app spec in, complete deployment artifacts out.",
        epilog="Example: gen new my-app --targets all",
        params=[
            click.Option(
                ["--version"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                help="Print the version.",
                callback=lambda context, _, value: _version(context) if value else None,
            ),
        ],
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
)


def _version(context: click.Context) -> None:
    click.echo(f"gen {__version__}")
    context.exit()


def main(argv: Sequence[str] | None = None) -> int:  # noqa: PLR0911 - a way out for each kind of end
    """Run one command line and return its exit code. Never raises, never prints a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    wants_json = "--format=json" in arguments or any(
        pair == ("--format", "json") for pair in pairwise(arguments)
    )
    out = Console("json" if wants_json else "text")
    try:
        code = _GROUP.main(arguments, "gen", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except GenError as error:
        out.problems(error.problems, error.sources)
        return error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "gen"
        fix = f"See {command} --help."
        out.problems([Problem("usage", error.format_message(), fix)], {})
        return 2
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has gone (`gen ... | head -1`). Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        out.problems(
            [Problem("out-of-memory", "there is not enough memory", "Free some memory.")], {}
        )
        return 3
    except Exception as error:
        if "GEN_DEBUG" in os.environ:
            raise
        what = f"{type(error).__name__}: {error}"
        fix = "Please report it; GEN_DEBUG=1 shows where it happened."
        out.problems([Problem("internal", f"gen failed, which is a fault of gen: {what}", fix)], {})
        return 3
