"""Who may reach a server: SSH knows its host keys, and no port of it is open to the world."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from generator.check import Check, Finding, Subject
from generator.check.ansible import (
    FOLDER,
    Document,
    Template,
    Variables,
    app_variables,
    calls,
    cloud,
    document,
    made,
    nginx_variables,
    tasks,
    whole,
)
from generator.check.artifacts import Value

_CONFIG = f"{FOLDER}ansible.cfg"
_TRUSTING = re.compile(
    r"StrictHostKeyChecking[= ]*(no|off|accept-new)\b|UserKnownHostsFile[= ]*\"?/dev/null",
    re.IGNORECASE,
)
_OFF = ("false", "no", "off", "0", "n", "f")


def host_keys(subject: Subject) -> Iterator[Finding]:
    """AN-19: SSH checks host keys, whatever file could tell it not to."""
    if not made(subject):
        return
    for number, line in enumerate(_lines(subject), 1):
        key, _, text = line.partition("=")
        off = key.strip() == "host_key_checking" and text.strip().lower() in _OFF
        if off or (not line.lstrip().startswith(("#", ";")) and _TRUSTING.search(line)):
            yield _trusting(Value(line, _CONFIG, number))
    for environment in made(subject):
        for found in (app_variables(subject, environment), nginx_variables(subject, environment)):
            for name, value in found.items():
                if not name.startswith("ansible_"):
                    continue
                off = name.endswith("host_key_checking") and str(value.value).lower() in _OFF
                if off or _TRUSTING.search(str(value.value)):
                    yield _trusting(value)


def _lines(subject: Subject) -> list[str]:
    there = subject.files.find(_CONFIG)
    return there.content.decode(errors="replace").splitlines() if there else []


def _trusting(value: Value) -> Finding:
    return Finding(
        "AN-19",
        value.file,
        value.line,
        "SSH trusts whoever answers here: host keys are not checked",
        "Leave checking on; the key of a new server goes into inventories/ENV/known_hosts.",
    )


def firewall(subject: Subject) -> Iterator[Finding]:
    """AN-19: No security group lets the world reach SSH."""
    environments = [one for one in made(subject) if cloud(subject, one)]
    for path in subject.wanted:
        found = document(subject.files, path) if path.startswith(FOLDER) else None
        if found is None or not environments:
            continue
        for task in tasks(found):
            for call in calls(task, "ec2_security_group"):
                for rule, line in call.parts("rules", "*"):
                    for environment in environments:
                        known = app_variables(subject, environment)
                        where = _opens_ssh(rule, line, known)
                        if where:
                            yield where


def _opens_ssh(rule: Document, line: int, known: Variables) -> Finding | None:
    sources = [str(rule.get(key)) for key in ("cidr_ip", "cidr_ipv6", "ip_prefix")]
    if not any(re.search(r"(0\.0\.0\.0|::)/0", str(_known(text, known))) for text in sources):
        return None
    value = _covers_ssh(rule, line, known)
    if value is None:
        return None
    return Finding(
        "AN-19",
        value.file,
        value.line,
        "port 22 is open to the world",
        "Take it out: SSH goes through Session Manager, which needs no port.",
    )


def _covers_ssh(rule: Document, line: int, known: Variables) -> Value | None:
    """Where it is written that a rule holds for port 22."""
    if str(rule.get("proto")) in ("all", "-1"):
        return Value(22, rule.file, line)
    for value in (*rule.find("ports", "*"), *rule.find("ports")):
        where = _place(value, known)
        if any(
            _in(port) for port in (where.value if isinstance(where.value, list) else [where.value])
        ):
            return where
    low, high = (next(rule.find(key), None) for key in ("from_port", "to_port"))
    if low and high:
        ends = [whole(_place(one, known).value) for one in (low, high)]
        if None not in ends and _in(f"{ends[0]}-{ends[1]}"):
            return low
    return None


def _place(value: Value, known: Variables) -> Value:
    """A value, or the variable that it is."""
    form = re.fullmatch(r"\{\{ *(\w+) *\}\}", str(value.value))
    if form is None or not isinstance(value.value, Template):
        return value
    return known.get(form[1], value)


def _known(text: str, known: Variables) -> Any:
    return _place(Value(Template(text), "", 0), known).value


def _in(ports: object) -> bool:
    form = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", str(ports))
    return form is not None and int(form[1]) <= 22 <= int(form[2] or form[1])


CHECKS: tuple[Check, ...] = (
    Check("AN-19", "SSH checks host keys", host_keys),
    Check("AN-19", "no port is open for SSH to the world", firewall),
)
