"""`gen check`: reads the project, runs our checks and the outside tools that are here."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from generator import generate
from generator.aws import account
from generator.check import Check, Finding, Subject
from generator.check.artifacts import read_manifests
from generator.check.registry import CHECKS, TOOLS
from generator.check.tools import SCRATCH, Answer, Crashed, Job, Tool, Unavailable
from generator.problems import InputError, Problem
from generator.project.lock import digest
from generator.project.read import find_project, read_files, read_lock
from generator.render.context import context
from generator.spec.load import SPEC, read_file

TIMEOUT_S = 120
_EVERY: tuple[Check | Tool, ...] = (*CHECKS, *TOOLS)


class Ran(NamedTuple):
    """One check or tool: `status` is passed, failed, missing (not on this machine) or idle (nothing
    of its kind in the project); `note` says more."""

    rule: str
    title: str
    status: str
    note: str = ""


class Report(NamedTuple):
    """What was checked, and what was found, by file and line."""

    folder: Path
    ran: tuple[Ran, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[Problem, ...]


_Result = tuple[Ran, list[Finding]]


def check(
    start: Path,
    today: dt.date,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    *,
    ask_aws: bool = False,
) -> Report:
    """Check the project that `start` is in. `only` and `skip` name checks and tools by rule.

    With `ask_aws` also what the account of the credentials in use lacks for it.

    Raises:
        InputError: no project, a wrong spec, or an unknown rule.
        MachineError: the project cannot be read; AWS does not take the credentials, or cannot be reached.
    """
    _known([*only, *skip], account.RULES if ask_aws else ())
    folder = find_project(start)
    subject, warnings = look_at(folder, today)
    wanted = [one for one in _EVERY if (not only or one.rule in only) and one.rule not in skip]
    with ThreadPoolExecutor() as pool:
        # All are started, then asked for in order: the slow ones run side by side, our own meanwhile.
        begun = [_begin(one, subject, folder, pool) for one in wanted]
        results = [finish() for finish in begun]
    if ask_aws:
        results += _of_aws(subject, only, skip)
    findings = sorted({finding for _, found in results for finding in found}, key=_place)
    return Report(folder, tuple(ran for ran, _ in results), tuple(findings), warnings)


def _of_aws(subject: Subject, only: Sequence[str], skip: Sequence[str]) -> Iterator[_Result]:
    asked, others = account.ask(subject.context)
    note = f"not asked about {', '.join(others)}, of another account" if others else ""
    for one in asked:
        if (only and one.rule not in only) or one.rule in skip:
            continue
        status = "failed" if one.findings else "missing" if one.why else "passed"
        said = one.why or (note if one.rule == "aws-account" else "")
        yield Ran(one.rule, one.title, status, said), list(one.findings)


def look_at(folder: Path, today: dt.date) -> tuple[Subject, tuple[Problem, ...]]:
    """A project as checks see it, and the warnings of its spec; raises as `check` does."""
    locked = read_lock(folder)
    spec = read_file(folder / SPEC)
    checked = generate.load(spec, SPEC, today, locked.resolved)
    files = read_files(folder)
    wanted_files = generate.files(checked)
    subject = Subject(
        files,
        wanted_files,
        {path: entry.sha256 for path, entry in locked.files.items()},
        digest(spec) != locked.spec,
        context(checked.project, checked.resolved),
        *read_manifests(files),
        read_manifests(wanted_files)[0],
    )
    return subject, checked.warnings


def _place(finding: Finding) -> tuple[str, int, str, str]:
    return finding.file, finding.line, finding.rule, finding.message


def _known(rules: Iterable[str], further: Iterable[str]) -> None:
    every = list(dict.fromkeys([*(one.rule for one in _EVERY), *further]))
    for rule in rules:
        if rule not in every:
            raise InputError(
                Problem(
                    "unknown-check", f"there is no check {rule!r}", f"Checks: {', '.join(every)}."
                )
            )


def _begin(
    one: Check | Tool, subject: Subject, folder: Path, pool: Executor
) -> Callable[[], _Result]:
    """Start a check or tool; what is returned waits for it."""
    if isinstance(one, Tool):
        return _begin_tool(one, subject, folder, pool)
    check = one

    def finish() -> _Result:
        found = list(check.run(subject))
        return Ran(check.rule, check.title, "failed" if found else "passed"), found

    return finish


def _begin_tool(
    tool: Tool, subject: Subject, folder: Path, pool: Executor
) -> Callable[[], _Result]:
    jobs = list(tool.jobs(subject.files, subject.context))
    missing = [program for program in tool.programs if shutil.which(program) is None]
    if not jobs or missing:
        status = "missing" if jobs else "idle"
        why = f"{', '.join(missing)} not found; {tool.how_to_get}" if jobs else "nothing to check"
        return lambda: (Ran(tool.rule, tool.title, status, why), [])
    answers = [pool.submit(_answer, job, folder) for job in jobs]
    return lambda: _read(tool, [answer.result() for answer in answers])


def _read(tool: Tool, answers: Sequence[Answer]) -> _Result:
    found: list[Finding] = []
    passed = 0
    for answer in answers:
        try:
            found += tool.read(answer)
            if tool.passed and answer.program == tool.programs[-1]:
                passed += tool.passed(answer)
        except Unavailable as lack:
            return Ran(tool.rule, tool.title, "missing", str(lack)), []
        except (Crashed, AttributeError, LookupError, TypeError, ValueError) as error:
            crash = (
                error if isinstance(error, Crashed) else "what it said has no form that is known"
            )
            why = f"{answer.program} ended without an answer: {crash}"
            fix = f"Run {answer.program} by hand to see why."
            found.append(Finding(tool.rule, answer.label, 0, why, fix))
    note = f"{passed} passed" if tool.passed else ""
    return Ran(tool.rule, tool.title, "failed" if found else "passed", note), found


def _answer(job: Job, folder: Path) -> Answer:
    """Run the steps of a job, each on the output of the one before where it wants that."""
    output, argv = "", [""]
    with tempfile.TemporaryDirectory(prefix="gen-check-") as scratch:
        for step in job.steps:
            words = filter(None, map(_expanded, step.argv))
            argv = [word.replace(SCRATCH, scratch) for word in words]
            try:
                done = _call(argv, folder, output if step.piped else "")
            except subprocess.TimeoutExpired:
                return Answer(job.label, -1, "", f"no answer within {TIMEOUT_S} s", tuple(argv))
            except OSError as error:
                return Answer(job.label, -1, "", str(error), tuple(argv))
            output = done.stdout
            if done.returncode:
                break
            if step.into:
                kept = output.replace(step.apart, " ".join(step.apart)) if step.apart else output
                Path(scratch, step.into).write_text(kept, "utf-8")
    return Answer(job.label, done.returncode, output, done.stderr, tuple(argv))


def _call(argv: list[str], folder: Path, given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
    )


def _expanded(word: str) -> str:
    """A word with its `$NAME` from the environment; empty, so left out, where that is not set."""
    name = re.search(r"\$([A-Z_]+)", word)
    if not name:
        return word
    value = os.environ.get(name[1], "")
    return word.replace(name[0], value) if value else ""
