"""The seams of what servers are given: config and secrets, from the spec to where the app reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.ansible import (
    FOLDER,
    Template,
    app_group,
    app_variables,
    document,
    key_lines,
    made,
    nginx_variables,
    tasks,
)
from generator.check.artifacts import Value
from generator.check.servers import at_home, group_vars


def configuration(subject: Subject) -> Iterator[Finding]:
    """X-13: The app servers of every environment have the variables of the spec."""
    name = f"{subject.context['role']}_config"
    for environment in made(subject):
        home = group_vars(environment, app_group(subject))
        value = app_variables(subject, environment).get(name)
        value = value and at_home(subject, value, home)
        if value is None or isinstance(value.value, Template):
            continue
        found = value.value if isinstance(value.value, dict) else {}
        lines = key_lines(subject, value.file, name)
        wanted = {item["name"]: str(item["value"]) for item in environment["config"]}
        for key in sorted({*wanted, *map(str, found)}):
            if key not in found:
                how = "is not here"
            elif key not in wanted:
                how = "is not in the spec"
            elif isinstance(found[key], Template) and found[key] == wanted[key]:
                how = "is evaluated by Ansible; with !unsafe before it, it is text"
            elif str(found[key]) != wanted[key] and not isinstance(found[key], Template):
                how = "differs from the spec"
            else:
                continue
            yield Finding(
                "X-13",
                value.file,
                lines.get(key, value.line),
                f"the variable {key} {how}",
                "Write here what the spec says, or set "
                f"environments.{environment['name']}.config.{key} in app.yaml.",
                f"config.{key}",
            )


_LOOKUP = re.compile(r"secretsmanager_secret|ssm_parameter")


def secrets(subject: Subject) -> Iterator[Finding]:
    """X-13: Every secret of the spec is looked up where the spec says; none is written down here."""
    name = f"{subject.context['role']}_secrets"
    for environment in made(subject):
        value = app_variables(subject, environment).get(name)
        value = value and at_home(subject, value, group_vars(environment, app_group(subject)))
        if value is None or isinstance(value.value, Template):
            continue
        there = document(subject.files, value.file)
        items = list(there.find(name, "*")) if there else []
        bodies = [(one, one.value) for one in items if isinstance(one.value, dict)]
        wanted = {secret["name"]: secret["reference"] for secret in environment["secrets"]}
        for one, body in bodies:
            text, key = body.get("value"), str(body.get("name"))
            if not isinstance(text, Template):
                yield _secret(one, f"the value of {key} stands here in the clear", key)
            elif (
                key in wanted
                and _LOOKUP.search(text)
                and wanted[key] not in re.split("['\"]", text)
            ):
                yield _secret(one, f"the secret {key} is not fetched from {wanted[key]}", key)
        for key in sorted(set(wanted) - {str(body.get("name")) for _, body in bodies}):
            yield _secret(value, f"the secret {key} is not brought to {environment['name']}", key)
    for environment in made(subject):
        tls = nginx_variables(subject, environment).get("nginx_tls_key")
        if tls and tls.value and not isinstance(tls.value, Template):
            yield _secret(
                tls, "the key of the certificate stands here in the clear", "nginx_tls_key"
            )


def _secret(where: Value, what: str, name: str) -> Finding:
    field = "" if name.startswith("nginx") else f"secrets.{name}"
    return Finding(
        "X-13",
        where.file,
        where.line,
        what,
        "Look it up: {{ lookup('amazon.aws.secretsmanager_secret', ...) }}, or amazon.aws.ssm_parameter.",
        field,
    )


def logged(subject: Subject) -> Iterator[Finding]:
    """AN-20: No task prints the secrets that it is given."""
    if not made(subject):
        return
    name = f"{subject.context['role']}_secrets"
    for path in subject.files:
        there = document(subject.files, path) if path.startswith(f"{FOLDER}roles/") else None
        if there is None or "/tasks/" not in path:
            continue
        for task in tasks(there):
            if name in str(task.get("loop")) and task.get("no_log") is not True:
                yield Finding(
                    "AN-20",
                    task.file,
                    task.line,
                    "this task prints the secrets that it writes",
                    "Write no_log: true.",
                    "secrets",
                )


CHECKS: tuple[Check, ...] = (
    Check("X-13", "the same variables on servers", configuration),
    Check("X-13", "every secret of a server is looked up, none written down", secrets),
    Check("AN-20", "no task prints a secret", logged),
)
