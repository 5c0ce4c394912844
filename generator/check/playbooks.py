"""The seams of playbooks: what one file of Ansible names, another provides.

Read are the files that gen makes, edits included; what somebody puts beside them is theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from generator.check import Check, Finding, Subject
from generator.check.ansible import (
    FOLDER,
    Document,
    Template,
    app_group,
    calls,
    cloud,
    document,
    inventory,
    made,
    tasks,
    unreadable,
)
from generator.check.artifacts import Value
from generator.tree import RelPath

_SCRIPT = f"{FOLDER}release.sh"


def syntax(subject: Subject) -> Iterator[Finding]:
    """Whether every file of Ansible can be read: the checks below compare what was read."""
    for broken in unreadable(subject):
        fix = "Mend the YAML around this line."
        yield Finding("syntax", broken.file, broken.line, broken.why, fix)


def ours(subject: Subject, folder: str = FOLDER) -> Iterator[Document]:
    """The files that gen makes in a folder, as they are now."""
    if made(subject):
        for path in subject.wanted:
            if path.startswith(folder) and (found := document(subject.files, path)):
                yield found


def playbooks(subject: Subject) -> Iterator[Document]:
    for found in ours(subject):
        if found.file.count("/") == 1 and found.file.endswith("_playbook.yml"):
            yield found


def roles(subject: Subject) -> Iterator[Finding]:
    """X-18: Every role, file of tasks and handler that a playbook or role names is there."""
    for found in ours(subject):
        if found.file.count("/") == 1 or "/tasks/" in found.file or "/handlers/" in found.file:
            for play, _ in found.parts("*"):
                for value in (*play.find("roles", "*"), *play.find("roles", "*", "role")):
                    if isinstance(value.value, str):
                        yield from _role(subject, value, value.value, "main")
            for task in tasks(found):
                yield from _included(subject, task)
                yield from _notified(subject, task)


def _included(subject: Subject, task: Document) -> Iterator[Finding]:
    for call in calls(task, "include_role", "import_role"):
        name, tasks_from = call.get("name"), next(call.find("tasks_from"), None)
        for value in call.find("name"):
            if isinstance(name, str) and tasks_from is None:
                yield from _role(subject, value, name, "main")
            elif isinstance(name, str) and tasks_from:
                yield from _role(subject, tasks_from, name, str(tasks_from.value))
    for call in calls(task, "include_tasks", "import_tasks"):
        for value in (*call.find("file"), *call.find()):
            if isinstance(value.value, str) and not isinstance(value.value, Template):
                here = value.file.rpartition("/")[0]
                folders = (here, here.replace("/handlers", "/tasks"), FOLDER.rstrip("/"))
                places = [f"{folder}/{value.value}" for folder in folders]
                if not any(place in subject.files for place in places):
                    yield _missing(value, f"{value.value} is not there")


def _role(subject: Subject, value: Value, name: str, tasks_from: str) -> Iterator[Finding]:
    # Of a collection, or evaluated when it runs: not in these files.
    if "." in name or isinstance(name, Template) or "{{" in tasks_from:
        return
    folder = f"{FOLDER}roles/{name}/tasks/"
    if not any(path.startswith(f"{FOLDER}roles/{name}/") for path in subject.files):
        if name not in _required(subject):
            yield _missing(value, f"there is no role {name}")
    elif tasks_from != "main" and not any(  # A role may be without tasks of its own.
        f"{folder}{tasks_from}{end}" in subject.files for end in ("", ".yml", ".yaml")
    ):
        yield _missing(value, f"the role {name} has no tasks/{tasks_from}.yml")


def _required(subject: Subject) -> set[str]:
    """The roles that requirements.yml brings."""
    found = document(subject.files, f"{FOLDER}requirements.yml")
    return {str(value.value) for value in found.find("roles", "*", "name")} if found else set()


def _missing(value: Value, what: str) -> Finding:
    fix = "Bring it back, or name what is there."
    return Finding("X-18", value.file, value.line, what, fix)


def _notified(subject: Subject, task: Document) -> Iterator[Finding]:
    role = re.match(rf"{FOLDER}roles/([^/]+)/", task.file)
    wanted = [*task.find("notify", "*")] or [*task.find("notify")]
    if not role or not wanted:
        return
    handlers = document(subject.files, f"{role[0]}handlers/main.yml")
    names = {
        str(handler.get(key))
        for handler in (tasks(handlers) if handlers else ())
        for key in ("name", "listen")
    }
    for value in wanted:
        known = not isinstance(value.value, str) or isinstance(value.value, Template)
        if handlers and not known and value.value not in names:
            yield _missing(value, f"the role {role[1]} has no handler {value.value!r}")


def groups(subject: Subject) -> Iterator[Finding]:
    """X-10: Every inventory has the groups that the playbooks are for."""
    known: set[str] = set()
    for environment in made(subject):
        here = _groups(subject, inventory(environment))
        known |= here
        needed = [app_group(subject)]
        # Servers that somebody has already may have their balancers elsewhere.
        needed += ["nginx_instances"] if cloud(subject, environment) else []
        listed = _lists(subject, inventory(environment))
        for name in needed:
            if listed and name not in here:
                yield Finding(
                    "X-10",
                    listed[0].file,
                    0,
                    f"this inventory has no group {name}, which the playbooks are for",
                    f"Name the group {name}.",
                    "name",
                )
    for playbook in playbooks(subject):
        for value in playbook.find("*", "hosts"):
            names = re.split(r"[:,]", value.value) if isinstance(value.value, str) else []
            for name in (name.strip().lstrip("&!") for name in names):
                if known and _is_group(value.value, name) and name not in known:
                    yield Finding(
                        "X-10",
                        value.file,
                        value.line,
                        f"no inventory has a group {name}",
                        f"There is: {', '.join(sorted(known))}. Give both one name.",
                        "name",
                    )


def _is_group(hosts: object, name: str) -> bool:
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
    return bool(plain) and not isinstance(hosts, Template) and name not in ("all", "localhost")


def _lists(subject: Subject, folder: str) -> list[Document]:
    """The files of an inventory that say which servers there are."""
    paths = (p for p in subject.files if p.startswith(folder) and p.count("/") == 3)
    found = (document(subject.files, path) for path in paths if path.endswith((".yml", ".yaml")))
    return [one for one in found if one]


def _groups(subject: Subject, folder: str) -> set[str]:
    found: set[str] = set()
    for listed in _lists(subject, folder):
        for value in listed.find("groups"):
            found |= {str(name) for name in value.value} if isinstance(value.value, dict) else set()
        whole_file = next(listed.find(), None)
        if whole_file and isinstance(whole_file.value, dict) and "plugin" not in whole_file.value:
            found |= _children(whole_file.value)
    return found


def _children(groups: dict[Any, Any], depth: int = 8) -> set[str]:
    """The groups of a static inventory, deep enough for every one that is not its own child."""
    found = {str(name) for name in groups}
    for body in groups.values():
        below = body.get("children") if isinstance(body, dict) else None
        if isinstance(below, dict) and depth:
            found |= _children(below, depth - 1)
    return found


def released(subject: Subject) -> Iterator[Finding]:
    """X-18: The release script knows the environments, and every playbook that it or make runs is there."""
    texts = [path for path in subject.files if path in (_SCRIPT, "Makefile") and made(subject)]
    for path in texts:
        lines = subject.files[path].content.decode(errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            for name in re.findall(r"\b[a-z0-9_]+_playbook\.yml\b", line.partition("#")[0]):
                if f"{FOLDER}{name}" not in subject.files:
                    yield _missing(Value(name, path, number), f"{FOLDER}{name} is not there")
    if _SCRIPT in texts:
        branches = _branches(subject)
        for environment in made(subject):
            yield from _branch(branches, environment["name"], environment["rollback"]["automatic"])
        for name, (number, _) in branches.items():
            if not any(path.startswith(f"{FOLDER}inventories/{name}/") for path in subject.files):
                what = f"there is no {FOLDER}inventories/{name}"
                yield _missing(Value(name, _SCRIPT, number), what)


def _branches(subject: Subject) -> dict[str, tuple[int, str]]:
    """What the release script says of each environment: the line, and the branch of its `case`."""
    text = subject.files[RelPath(_SCRIPT)].content.decode(errors="replace")
    form = re.compile(r"^ *'([a-z0-9-]+)'\)(.*?);;", re.MULTILINE | re.DOTALL)
    return {one[1]: (text.count("\n", 0, one.start()) + 1, one[2]) for one in form.finditer(text)}


def _branch(branches: dict[str, tuple[int, str]], name: str, automatic: bool) -> Iterator[Finding]:
    number, text = branches.get(name, (0, ""))
    said = re.search(r"\bautomatic_rollback=['\"]?(\w*)", text)
    wanted = "yes" if automatic else "no"
    if not number:
        what = f"the script does not know the environment {name}"
    elif not said or said[1] != wanted:
        what = f"automatic_rollback of {name} is {said[1] if said else 'missing'}, the spec says {wanted}"
    else:
        return
    yield Finding(
        "release",
        _SCRIPT,
        number,
        what,
        f"Write '{name}') automatic_rollback={wanted} ;;.",
        "rollback.automatic" if number else "environments",
    )


CHECKS: tuple[Check, ...] = (
    Check("syntax", "every file of Ansible can be read", syntax),
    Check("X-10", "every inventory has the groups that playbooks are for", groups),
    Check("X-18", "what playbooks and roles name is there", roles),
    Check("X-18", "what make and the release script run is there", released),
)
