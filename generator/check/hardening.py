"""What a server lets its processes and its visitors do: no more than was generated."""

from __future__ import annotations

from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.ansible import (
    FOLDER,
    Document,
    Template,
    calls,
    cloud,
    document,
    made,
    shown,
    tasks,
)
from generator.check.artifacts import Value
from generator.check.nginx import TEMPLATE
from generator.check.servers import unit, written

_SANDBOX = {
    "DynamicUser": "true",
    "NoNewPrivileges": "true",
    "CapabilityBoundingSet": "",
    "PrivateDevices": "true",
    "PrivateTmp": "true",
    "ProtectHome": "true",
    "ProtectSystem": "strict",
    "RestrictNamespaces": "true",
    "RestrictSUIDSGID": "true",
}
"""Settings of systemd's `[Service]` without which a process that was broken into reaches further."""


def sandbox(subject: Subject) -> Iterator[Finding]:
    """AN-16: A process of the app is nobody, and may do what an app needs."""
    file = unit(subject)
    if not made(subject) or subject.files.find(file) is None:
        return
    memory = f"{{{{ {subject.context['role']}_memory_mib }}}}M"
    for name, expected in {**_SANDBOX, "MemoryMax": memory}.items():
        found = list(written(subject, file, rf"{name}=(.*)"))
        # The last one counts.
        if not found or found[-1].value.lower() != expected.lower():
            line = found[-1].line if found else 0
            what = f"{name} is {found[-1].value or 'empty'}" if found else f"{name} is not set"
            yield Finding(
                "AN-16", file, line, f"{what} in the unit of the app", f"Write {name}={expected}."
            )
    for user in written(subject, file, r"User=(.*)"):
        yield Finding(
            "AN-16",
            user.file,
            user.line,
            f"the app runs as {user.value}, who is there while it is not",
            "Take it out: DynamicUser makes a user for each process.",
        )


def instances(subject: Subject) -> Iterator[Finding]:
    """AN-21: A new server gives its credentials for a token only, and its disk is encrypted."""
    if not any(cloud(subject, environment) for environment in made(subject)):
        return
    for path in subject.wanted:
        found = document(subject.files, path) if path.startswith(FOLDER) else None
        for task in tasks(found) if found else ():
            for call in calls(task, "ec2_instance"):
                yield from _guarded(call)


def _guarded(call: Document) -> Iterator[Finding]:
    if not list(call.find("image_id")):
        return  # it launches none
    for name, expected, path in (
        ("http_tokens", "required", ("metadata_options", "http_tokens")),
        ("encrypted", "true", ("volumes", "*", "ebs", "encrypted")),
    ):
        for value in list(call.find(*path)) or [Value(None, call.file, call.line)]:
            if shown(value.value) != expected and not isinstance(value.value, Template):
                said = "is not set" if value.value is None else f"is {shown(value.value)}"
                yield Finding(
                    "AN-21",
                    value.file,
                    value.line,
                    f"{name} {said} for new servers",
                    f"Write {name}: {expected}.",
                )


def tls(subject: Subject) -> Iterator[Finding]:
    """NG-08: Balancers speak TLS 1.2 and newer."""
    for value in written(subject, TEMPLATE, r"ssl_protocols ([^;]*);"):
        old = sorted(set(value.value.split()) - {"TLSv1.2", "TLSv1.3"})
        if old:
            yield Finding(
                "NG-08",
                value.file,
                value.line,
                f"nginx speaks {' and '.join(old)}, which are broken",
                "Write TLSv1.2 TLSv1.3.",
            )


CHECKS: tuple[Check, ...] = (
    Check("AN-16", "the app on a server is in a sandbox", sandbox),
    Check("AN-21", "new servers guard their credentials and disks", instances),
    Check("NG-08", "balancers speak no old TLS", tls),
)
