"""argv to exit code: finds the command, loads it when it is called, turns problems into codes.

Exit codes: 0 done; 1 differences, findings or conflicts; 2 the user's input is wrong; 3 the machine
is in the way; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TextIO

import click

from generator import __version__
from generator.console import Console
from generator.problems import GenError, Problem, cannot_read

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. Never raises, never prints a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: `gen ... >&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
    try:
        code = _run(argv)
        sys.stdout.flush()  # here, where a full disk can still be told
    except BrokenPipeError:  # the reader has gone: `gen ... | head -1`
        _silence(sys.stdout)
        return 0
    except OSError as error:
        if error.filename is not None:
            problems = cannot_read(error, error.filename).problems
        else:
            _silence(sys.stdout)
            what = f"the output cannot be written: {error.strerror}"
            problems = [Problem("cannot-print", what, "Send it somewhere else.")]
        Console().problems(problems, {})
        return 3
    return code


def _silence(stream: TextIO) -> None:
    """Let nothing come of what is still to be written: Python would complain at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usage(error: click.UsageError, out: Console) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.format_message(), file=sys.stderr)
    else:
        command = error.ctx.command_path if error.ctx else "gen"
        out.problems([Problem("usage", error.format_message(), f"See {command} --help.")], {})
    return 2


def _run(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    wants_json = "--format=json" in arguments or any(
        pair == ("--format", "json") for pair in pairwise(arguments)
    )
    out = Console("json" if wants_json else "text")
    try:
        code = _GROUP.main(arguments, "gen", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SystemExit as end:
        if "_GEN_COMPLETE" in os.environ:
            return end.code if isinstance(end.code, int) else 0
        raise BrokenPipeError from None  # how click answers one
    except GenError as error:
        out.problems(error.problems, error.sources)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    except OSError:
        raise
    except click.UsageError as error:
        return _usage(error, out)
    except MemoryError:
        problem = Problem("out-of-memory", "there is not enough memory", "Free some memory.")
        code = 3
    except Exception as error:
        if "GEN_DEBUG" in os.environ:
            raise
        what = f"{type(error).__name__}: {error}"
        fix = "Please report it; GEN_DEBUG=1 shows where it happened."
        problem = Problem("internal", f"gen failed, which is a fault of gen: {what}", fix)
        code = 3
    out.problems([problem], {})
    return code
