"""How servers are replaced: a few at a time, none while requests are on their way to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generator.check import Check, Finding, Subject
from generator.check.ansible import FOLDER, Document, calls, document, made, shown, tasks
from generator.check.artifacts import Value
from generator.check.playbooks import playbooks


def rolling(subject: Subject) -> Iterator[Finding]:
    """AN-14: Servers are replaced batch by batch; the first that fails stops it."""
    role = subject.context["role"]
    for playbook in playbooks(subject):
        for play, line in playbook.parts("*"):
            if _replaces(play, role):
                yield from _carefully(play, line, f"{role}_batches")
            elif play.get("hosts") == "nginx_instances" and "nginx" in str(play.get("roles")):
                yield from _carefully(play, line, "")


def _replaces(play: Document, role: str) -> bool:
    return any(
        (call.get("name"), call.get("tasks_from")) == (role, "update")
        for task in tasks(play)
        for call in calls(task, "include_role", "import_role")
    )


def _carefully(play: Document, line: int, batches: str) -> Iterator[Finding]:
    serial = next(play.find("serial"), None)
    if serial is None:
        what = "this replaces all servers at once"
        wanted = "serial" if batches else "serial: 1"
        yield _careless(Value(None, play.file, line), what, f"Write {wanted}, as gen did.")
    elif batches and batches not in str(serial.value):
        what = f"the batches are {shown(serial.value)}, whatever {batches} says"
        yield _careless(serial, what, f"Take them from {batches}.")
    limits: list[tuple[str, Any]] = [("any_errors_fatal", True)]
    limits += [("max_fail_percentage", 0)] if batches else []
    for key, wanted in limits:
        value = next(play.find(key), None)
        if value is None or str(value.value) != str(wanted):
            where = value or Value("missing", play.file, line)
            said = where.value if value is None else shown(value.value)
            what = f"{key} is {said}: servers that are well are replaced after one failed"
            yield _careless(where, what, f"Write {key}: {shown(wanted)}.")


def _careless(where: Value, what: str, fix: str) -> Finding:
    return Finding("AN-14", where.file, where.line, what, fix, "rollout")


def drained(subject: Subject) -> Iterator[Finding]:
    """AN-14: A server gets no requests while its release is switched, and gets them back after."""
    file = f"{FOLDER}roles/{subject.context['role']}/tasks/replace.yml"
    there = document(subject.files, file) if made(subject) else None
    if there is None:
        return
    steps = list(_steps(there, subject.context["role"]))
    names = [name for name, _ in steps]
    if "switch" not in names:
        return
    at = names.index("switch")
    for wanted, part, how in (("down", names[:at], "before"), ("in", names[at:], "after")):
        if wanted not in part:
            what = {
                "down": "the server is switched while the balancers send it requests",
                "in": "the balancers send the server no requests when it is ready",
            }[wanted]
            fix = f"Include balance.yml with {subject.context['role']}_state: {wanted} {how} it."
            yield Finding("AN-14", file, steps[at][1], what, fix)


def _steps(there: Document, role: str) -> Iterator[tuple[str, int]]:
    for task in tasks(there):
        for call in calls(task, "include_tasks", "import_tasks"):
            file = str(call.get() or call.get("file"))
            if file == "switch.yml":
                yield "switch", task.line
            elif file == "balance.yml":
                yield str(task.get("vars", f"{role}_state")), task.line


CHECKS: tuple[Check, ...] = (
    Check("AN-14", "servers are replaced batch by batch, and a failure stops it", rolling),
    Check("AN-14", "a server is drained while it is replaced", drained),
)
