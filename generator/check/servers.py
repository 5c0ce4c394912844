"""The seams of servers: what Ansible's variables say again of what the spec says.

Compared is the value that wins on a host, wherever it is written. What only Ansible can evaluate (a
lookup, another variable) is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from generator.check import Check, Finding, Subject
from generator.check.ansible import (
    FOLDER,
    Template,
    Variables,
    app_variables,
    inventory,
    made,
    nginx_variables,
    readable,
    shown,
    whole,
)
from generator.check.artifacts import Value
from generator.render.context import Context


class Wanted(NamedTuple):
    """A variable that says what a key of the spec says; `field` is that key."""

    name: str
    expected: Any
    field: str


def agree(
    subject: Subject, rule: str, found: Variables, wanted: Wanted, home: str
) -> Iterator[Finding]:
    """A finding where a variable says something else than the spec; `home` is where it belongs."""
    name, expected, field = wanted
    value = found.get(name)
    if value is None:
        if readable(subject.files, home):
            fix = f"Write {name}: {shown(expected)}."
            yield Finding(rule, home, 0, f"{name} is not set", fix, field)
    elif not isinstance(value.value, Template) and shown(value.value) != shown(expected):
        here = at_home(subject, value, home)
        if here:
            yield differs(rule, here._replace(value=shown(value.value)), name, expected, field)


def at_home(subject: Subject, value: Value, home: str) -> Value | None:
    """A value, moved to the file where it belongs when only a role's defaults have it: what is said
    there holds for all environments. None where that file is gone or unreadable, which is told as such.
    """
    if "/defaults/" not in value.file or home == value.file:
        return value
    return value._replace(file=home, line=0) if readable(subject.files, home) else None


def differs(rule: str, value: Value, what: str, expected: object, field: str) -> Finding:
    """The finding of a value that is not the one of the spec."""
    return Finding(
        rule,
        value.file,
        value.line,
        f"{what} is {value.value}, the spec says {shown(expected)}",
        f"Write {shown(expected)} here, or change {field} in app.yaml for all artifacts.",
        field,
    )


def defaults(role: str) -> str:
    return f"{FOLDER}roles/{role}/defaults/main.yml"


def group_vars(environment: Context, group: str) -> str:
    return f"{inventory(environment)}group_vars/{group}.yml"


def _both(subject: Subject, environment: Context) -> Iterator[tuple[str, Variables]]:
    """The two roles that serve, each with its variables."""
    yield subject.context["role"], app_variables(subject, environment)
    yield "nginx", nginx_variables(subject, environment)


def port(subject: Subject) -> Iterator[Finding]:
    """X-01: The processes of a server begin at the port of the spec, and the firewall lets all in."""
    role, expected = subject.context["role"], subject.context["http"]["port"]
    for environment in made(subject):
        found, home = app_variables(subject, environment), group_vars(environment, "all")
        first = Wanted(f"{role}_port", expected, "http.port")
        yield from agree(subject, "X-01", found, first, defaults(role))
        opened = Wanted("ec2_app_first_port", expected, "http.port")
        yield from agree(subject, "X-01", found, opened, home)
        last = found.get("ec2_app_last_port")
        processes = whole(_value(found, f"{role}_processes"))
        most = expected + processes - 1 if processes else subject.context["server"]["last_port"]
        number = whole(last.value) if last else None
        if last and number is not None and number < most:
            yield Finding(
                "X-01",
                last.file,
                last.line,
                f"the balancers reach ports up to {number}, and processes may have ports up to {most}",
                f"Write {most}.",
                "http.port",
            )
    for value in written(subject, unit(subject), r"Environment=\"?PORT=([^\"]*)\"?"):
        if value.value != "%i":
            yield Finding(
                "X-01",
                value.file,
                value.line,
                f"every process gets the port {value.value}, and one of them can have it",
                "Write %i: the port is the name of the process.",
                "http.port",
            )


def unit(subject: Subject) -> str:
    return f"{FOLDER}roles/{subject.context['role']}/templates/app.service.j2"


def _value(found: Variables, name: str) -> Any:
    return found[name].value if name in found else None


def written(subject: Subject, file: str, pattern: str) -> Iterator[Value]:
    """What the group of a pattern matches in the lines of a file that match as a whole."""
    there = subject.files.find(file)
    if there is None or not made(subject):
        return
    for number, line in enumerate(there.content.decode(errors="replace").splitlines(), 1):
        if form := re.fullmatch(pattern, line.strip()):
            yield Value(form[1].strip(), file, number)


def health_paths(subject: Subject) -> Iterator[Finding]:
    """X-02: Servers and balancers ask for the paths that the app serves, and the public gets neither."""
    for environment in made(subject):
        for role, found in _both(subject, environment):
            for which in ("live", "ready"):
                expected = subject.context["health"][which]
                wanted = Wanted(f"{role}_{which}_path", expected, f"health.{which}")
                yield from agree(subject, "X-02", found, wanted, defaults(role))


def shutdown(subject: Subject) -> Iterator[Finding]:
    """X-05: A process has its whole drain before it is killed."""
    role, drain = subject.context["role"], subject.context["times"]["drain_s"]
    for environment in made(subject):
        found = app_variables(subject, environment)
        stops = [found[f"{role}_stop_s"]] if f"{role}_stop_s" in found else []
        stops += written(subject, unit(subject), r"TimeoutStopSec=([0-9]+)s?")
        for stop in stops:
            number = whole(stop.value)
            if number is not None and number <= drain:
                yield Finding(
                    "X-05",
                    stop.file,
                    stop.line,
                    f"systemd kills a process after {number} s, and its drain may take {drain} s",
                    f"Write more than {drain}, or lower health.drain in app.yaml for all artifacts.",
                    "health.drain",
                )


def startup(subject: Subject) -> Iterator[Finding]:
    """X-08: A server waits for the declared start before it calls a release a failure."""
    start = subject.context["times"]["start_s"]
    for environment in made(subject):
        value = app_variables(subject, environment).get(f"{subject.context['role']}_start_s")
        number = whole(value.value) if value else None
        if value and number is not None and number < start:
            yield Finding(
                "X-08",
                value.file,
                value.line,
                f"a process gets {number} s to start, the spec says that it may need {start} s",
                f"Write {start} or more.",
                "health.start",
            )


def resources(subject: Subject) -> Iterator[Finding]:
    """A process gets the memory of the spec: how many a server runs is counted with it."""
    role = subject.context["role"]
    for environment in made(subject):
        found, home = (
            app_variables(subject, environment),
            group_vars(environment, f"{role}_instances"),
        )
        memory = environment["server"]["memory_mib"]
        wanted = Wanted(f"{role}_memory_mib", memory, "resources.memory")
        yield from agree(subject, "resources", found, wanted, home)


def rollout(subject: Subject) -> Iterator[Finding]:
    """A release goes from server to server as the spec says, and is watched and kept as it says."""
    role = subject.context["role"]
    for environment in made(subject):
        found, home = (
            app_variables(subject, environment),
            group_vars(environment, f"{role}_instances"),
        )
        # Ansible takes one number for a list of one.
        batches = found.get(f"{role}_batches")
        if (
            batches
            and isinstance(batches.value, int | str)
            and not isinstance(batches.value, Template)
        ):
            found = {**found, f"{role}_batches": batches._replace(value=[batches.value])}
        for name, expected, field in (
            ("batches", environment["server"]["batches"], "rollout.max_unavailable"),
            ("canary", environment["server"]["canary"], "rollout.strategy"),
            ("bake_s", environment["rollout"]["bake_s"], "rollout.bake"),
            ("keep", environment["rollback"]["keep"], "rollback.keep"),
        ):
            wanted = Wanted(f"{role}_{name}", expected, field)
            yield from agree(subject, "release", found, wanted, home)


CHECKS: tuple[Check, ...] = (
    Check("X-01", "one port on servers, balancers and firewall", port),
    Check("X-02", "servers and balancers ask for the paths that the app serves", health_paths),
    Check("X-05", "systemd gives the app its drain", shutdown),
    Check("X-08", "servers wait for the declared start", startup),
    Check("resources", "a process on a server has the memory of the spec", resources),
    Check("release", "servers are replaced, watched and kept as the spec says", rollout),
)
