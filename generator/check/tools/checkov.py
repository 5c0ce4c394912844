"""checkov: overlays and the Dockerfile in one run, since starting it takes the time; and the stacks in another.

It stays at home: nothing is downloaded, and nothing is uploaded even where the environment holds an
API key. An exception stands beside what it excepts, as checkov's own comment or annotation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from generator.check import Finding
from generator.check.tools import SCRATCH, Answer, Crashed, Job, Step, Tool
from generator.check.tools.overlays import STACKS, build, not_built, overlay_of, overlays
from generator.render.context import Context
from generator.tree import FileTree

_CALL = ("checkov", "--skip-download", "--bc-api-key=", "--quiet", "--compact", "--output=json")
_FRAMEWORK = "--framework="


def jobs(files: FileTree, context: Context) -> Iterator[Job]:
    # A file with {{ in it, such as in a config value, checkov takes for a template and does not read.
    built = tuple(build(overlay, kept=True, apart="{{") for overlay, _ in overlays(files, context))
    subjects = {"kubernetes": [f"{SCRATCH}/{step.into}" for step in built]}
    if "Dockerfile" in files:
        subjects["dockerfile"] = ["Dockerfile"]
    scanned = {kind: names for kind, names in subjects.items() if names}
    if scanned:
        words = (
            f"{_FRAMEWORK}{','.join(scanned)}",
            "--file",
            *chain.from_iterable(scanned.values()),
        )
        yield Job("k8s/overlays" if built else "Dockerfile", (*built, Step((*_CALL, *words))))
    if any(path.startswith(f"{STACKS}/") for path in files):
        yield Job(STACKS, (Step((*_CALL, f"{_FRAMEWORK}terraform", f"--directory={STACKS}")),))


def read(answer: Answer) -> Iterator[Finding]:
    if broken := not_built(answer):
        yield broken
        return
    reports = _reports(answer)
    # A file that checkov does not understand is no error of its own: it says nothing about it.
    asked = next(word for word in answer.argv if word.startswith(_FRAMEWORK))
    for kind in asked.removeprefix(_FRAMEWORK).split(","):
        if kind not in reports or reports[kind]["summary"]["parsing_errors"]:
            raise Crashed(f"it could not read the files for {kind}")
    for kind, report in reports.items():
        for item in report["results"]["failed_checks"]:
            yield _finding(kind, item)


def _finding(kind: str, item: dict[str, Any]) -> Finding:
    # Named `Kind.namespace.name`; in a Dockerfile after an instruction, whose line is given anyway.
    where = f"{item['resource']}: "
    file, line = overlay_of(item["file_path"]), 0
    if kind == "dockerfile":
        where, file, line = "", "Dockerfile", _line(item)
    elif kind == "terraform":
        file, line = f"{STACKS}{item['file_path']}", item["file_line_range"][0]
    return Finding(
        f"checkov/{item['check_id']}",
        file,
        line,
        f"{where}{item['check_name']}",
        f"See {item['check_id']} of checkov; an exception is written beside it, with its reason.",
    )


def _line(item: dict[str, Any]) -> int:
    """The line of an instruction; what is missing from the whole file has none."""
    first, last = item["file_line_range"]
    return int(first) if first == last else 0


def _reports(answer: Answer) -> dict[str, Any]:
    """The report of each framework: checkov writes a list of them, or one alone."""
    try:
        found = json.loads(answer.stdout)
        return {one["check_type"]: one for one in (found if isinstance(found, list) else [found])}
    except (ValueError, KeyError, TypeError):
        why = answer.stderr.strip().splitlines() or [f"exit {answer.code}"]
        raise Crashed(why[-1]) from None


def passed(answer: Answer) -> int:
    return sum(report["summary"]["passed"] for report in _reports(answer).values())


TOOL = Tool(
    "checkov",
    "overlays, Dockerfile and stacks follow the rules of checkov",
    ("kubectl", "checkov"),
    "kubectl: see kubernetes.io/docs/tasks/tools; pip install checkov, in an environment of its own",
    jobs,
    read,
    passed,
)
