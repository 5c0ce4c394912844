"""`gen check`: is this true?"""

from __future__ import annotations

from pathlib import Path

import click

from generator.commands import console, today
from generator.console import as_data
from generator.problems import MachineError, Problem
from generator.project.check import Ran, Report, check

_SIGNS = {"passed": "ok", "failed": "FAILED", "missing": "not run", "idle": "-"}


@click.command(
    "check",
    short_help="Check that the artifacts agree.",
    help="Check that the artifacts agree with the spec, with each other and with outside tools.",
    epilog="Example: gen check --skip hadolint",
)
@click.option("--only", multiple=True, metavar="RULE", help="Run only this check; may be repeated.")
@click.option(
    "--skip", multiple=True, metavar="RULE", help="Leave this check out; may be repeated."
)
@click.option(
    "--strict", is_flag=True, help="A tool that is not installed ends the command with 3."
)
@click.option(
    "--aws",
    "ask_aws",
    is_flag=True,
    help="Ask AWS, too, what the account lacks. Nothing is changed.",
)
@click.pass_context
def command(
    context: click.Context,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    strict: bool,
    ask_aws: bool,
) -> int:
    report = check(Path.cwd(), today(), only, skip, ask_aws=ask_aws)
    out = console(context)
    out.warn(report.warnings, {})
    missing = [ran for ran in report.ran if ran.status == "missing"]
    if strict and missing:
        raise MachineError([_lack(ran) for ran in missing])
    out.result(_text(report, quiet=out.quiet), _data(report))
    return 1 if report.findings else 0


def _lack(ran: Ran) -> Problem:
    if ran.rule.startswith("aws-"):
        fix = "Have the right to ask given to these credentials."
        return Problem("aws-not-asked", f"{ran.rule}: {ran.note}", fix)
    return Problem("tool-missing", f"{ran.rule}: {ran.note}", "Install it.")


def _text(report: Report, *, quiet: bool) -> str:
    lines = []
    for finding in report.findings:
        place = f"{finding.file}:{finding.line}" if finding.line else finding.file
        field = f" ({finding.field})" if finding.field else ""
        lines += [f"{place}: [{finding.rule}] {finding.message}{field}", f"  fix: {finding.fix}"]
    if not quiet:
        lines += [""] if lines else []
        lines += [
            f"  {_SIGNS[ran.status]:<8}{ran.rule:<20}{ran.title}{f' ({ran.note})' if ran.note else ''}"
            for ran in report.ran
        ]
    count, missing = len(report.findings), sum(ran.status == "missing" for ran in report.ran)
    verdict = f"{count} finding{'s' if count != 1 else ''}" if count else "No findings"
    return "\n".join([*lines, verdict + (f"; {missing} not run" if missing else "")])


def _data(report: Report) -> dict[str, object]:
    return {
        "ok": not report.findings,
        "findings": [finding._asdict() for finding in report.findings],
        "checks": [ran._asdict() for ran in report.ran],
        "problems": [as_data(problem) for problem in report.warnings],
    }
