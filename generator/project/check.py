"""`gen check`: reads the project, runs our checks and the outside tools that are here."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from generator import generate
from generator.check import Check, Finding, Subject
from generator.check.artifacts import read_manifests
from generator.check.registry import CHECKS, TOOLS
from generator.check.tools import Answer, Crashed, Job, Tool, Unavailable
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


def check(
    start: Path, today: dt.date, only: Sequence[str] = (), skip: Sequence[str] = ()
) -> Report:
    """Check the project that `start` is in. `only` and `skip` name checks and tools by rule.

    Raises:
        InputError: no project, a wrong spec, or an unknown rule.
        MachineError: the project cannot be read.
    """
    _known([*only, *skip])
    folder = find_project(start)
    locked = read_lock(folder)
    spec = read_file(folder / SPEC)
    checked = generate.load(spec, SPEC, today, locked.resolved)
    values = context(checked.project, checked.resolved)
    files = read_files(folder)
    subject = Subject(
        files,
        generate.files(checked),
        {path: entry.sha256 for path, entry in locked.files.items()},
        digest(spec) != locked.spec,
        values,
        *read_manifests(files),
    )
    wanted = [one for one in _EVERY if (not only or one.rule in only) and one.rule not in skip]
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda one: _run(one, subject, folder), wanted))
    findings = sorted({finding for _, found in results for finding in found}, key=_place)
    return Report(folder, tuple(ran for ran, _ in results), tuple(findings), checked.warnings)


def _place(finding: Finding) -> tuple[str, int, str, str]:
    return finding.file, finding.line, finding.rule, finding.message


def _known(rules: Iterable[str]) -> None:
    every = [one.rule for one in _EVERY]
    for rule in rules:
        if rule not in every:
            raise InputError(
                Problem(
                    "unknown-check", f"there is no check {rule!r}", f"Checks: {', '.join(every)}."
                )
            )


def _run(one: Check | Tool, subject: Subject, folder: Path) -> tuple[Ran, list[Finding]]:
    if isinstance(one, Tool):
        return _run_tool(one, subject, folder)
    found = list(one.run(subject))
    return Ran(one.rule, one.title, "failed" if found else "passed"), found


def _run_tool(tool: Tool, subject: Subject, folder: Path) -> tuple[Ran, list[Finding]]:
    jobs = list(tool.jobs(subject.files, subject.context))
    if not jobs:
        return Ran(tool.rule, tool.title, "idle", "nothing to check"), []
    missing = [program for program in tool.programs if shutil.which(program) is None]
    if missing:
        return Ran(
            tool.rule, tool.title, "missing", f"{', '.join(missing)} not found; {tool.how_to_get}"
        ), []
    found: list[Finding] = []
    for job in jobs:
        answer = _answer(job, folder)
        try:
            found += tool.read(answer)
        except Unavailable as lack:
            return Ran(tool.rule, tool.title, "missing", str(lack)), []
        except Crashed as crash:
            why = f"{answer.step} ended without an answer: {crash}"
            found.append(
                Finding(tool.rule, job.label, 0, why, f"Run {answer.step} by hand to see why.")
            )
    return Ran(tool.rule, tool.title, "failed" if found else "passed"), found


def _answer(job: Job, folder: Path) -> Answer:
    """Run the steps of a job, each on the output of the one before where it wants that."""
    output = ""
    for step in job.steps:
        argv = [word for word in map(_expanded, step.argv) if word]
        try:
            done = subprocess.run(
                argv,
                cwd=folder,
                input=output if step.piped else "",
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(job.label, -1, "", f"no answer within {TIMEOUT_S} s", argv[0])
        except OSError as error:
            return Answer(job.label, -1, "", str(error), argv[0])
        output = done.stdout
        if done.returncode:
            break
    return Answer(job.label, done.returncode, output, done.stderr, argv[0])


def _expanded(word: str) -> str:
    """A word with its `$NAME` from the environment; empty, so left out, where that is not set."""
    name = re.search(r"\$([A-Z_]+)", word)
    if not name:
        return word
    value = os.environ.get(name[1], "")
    return word.replace(name[0], value) if value else ""
