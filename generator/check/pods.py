"""What a pod may do, and who may talk to it: the restrictions that gen wrote are still there.

Tools look at these too, where they are installed. Here they are checked on every machine, and where
they are written, so that a finding names the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Manifest, Value
from generator.check.reading import (
    POD,
    Path,
    below,
    container,
    layered,
    made,
    place,
)
from generator.render.context import Context

_BOTH = "pod, or the container, which has the last word"


class _Rule(NamedTuple):
    """A restriction: where it is written (from the container, or from the pod), when it holds, why."""

    key: str
    path: Path
    level: str
    holds: Callable[[Any], bool]
    fix: str


def _is(wanted: object) -> Callable[[Any], bool]:
    return lambda value: value is wanted or value == wanted


_RULES: tuple[_Rule, ...] = (
    _Rule(
        "runAsNonRoot",
        ("securityContext", "runAsNonRoot"),
        _BOTH,
        _is(True),
        "Write runAsNonRoot: true: else an image that runs as root would start.",
    ),
    _Rule(
        "seccompProfile",
        ("securityContext", "seccompProfile", "type"),
        _BOTH,
        lambda value: value in ("RuntimeDefault", "Localhost"),
        "Write type: RuntimeDefault: it keeps rare system calls from the app.",
    ),
    _Rule(
        "allowPrivilegeEscalation",
        ("securityContext", "allowPrivilegeEscalation"),
        "container",
        _is(False),
        "Write false: nothing that the app starts may get more rights than it has.",
    ),
    _Rule(
        "privileged",
        ("securityContext", "privileged"),
        "container",
        lambda value: value in (None, False),
        "Write false: a privileged container owns the node.",
    ),
    _Rule(
        "readOnlyRootFilesystem",
        ("securityContext", "readOnlyRootFilesystem"),
        "container",
        _is(True),
        "Write true: the app writes to /tmp alone, and nobody can change its code.",
    ),
    _Rule(
        "capabilities.drop",
        ("securityContext", "capabilities", "drop"),
        "container",
        lambda value: isinstance(value, list) and "ALL" in value,
        "Write drop: [ALL]: the app needs no capability of the kernel.",
    ),
    _Rule(
        "capabilities.add",
        ("securityContext", "capabilities", "add"),
        "container",
        lambda value: value in (None, []),
        "Take it out: the app needs no capability of the kernel.",
    ),
    _Rule(
        "automountServiceAccountToken",
        ("automountServiceAccountToken",),
        "pod",
        _is(False),
        "Write false: the app never calls the Kubernetes API.",
    ),
    *(
        _Rule(
            key,
            (key,),
            "pod",
            lambda value: value in (None, False),
            "Take it out: it is the node's.",
        )
        for key in ("hostNetwork", "hostPID", "hostIPC")
    ),
)


def restrictions(subject: Subject) -> Iterator[Finding]:
    """The pod gives up every right that the app does not need."""
    for environment in made(subject):
        for rule in _RULES:
            yield from _loosened(subject, environment, rule)
        hostile = (
            ((*POD, "volumes", "*", "hostPath"), "a folder of the node is mounted"),
            ((*container(subject), "ports", "*", "hostPort"), "a port of the node is taken"),
        )
        for path, what in hostile:
            value = layered(subject, environment, "Deployment", *path)
            if value is not None:
                yield _finding(value, what, "Take it out: a pod must not depend on its node.")
        yield from _admission(subject, environment)


def _loosened(subject: Subject, environment: Context, rule: _Rule) -> Iterator[Finding]:
    app = container(subject)
    levels = {"pod": [POD], "container": [app], _BOTH: [app, POD]}[rule.level]
    found = (layered(subject, environment, "Deployment", *level, *rule.path) for level in levels)
    value = next((one for one in found if one is not None), None)
    if not rule.holds(value.value if value else None):
        where = value or place(subject, environment, "Deployment", *levels[-1], *rule.path)
        if where is not None:
            what = f"is {value.value}" if value else "is not set"
            yield _finding(where, f"{rule.key} {what}", rule.fix)


def _admission(subject: Subject, environment: Context) -> Iterator[Finding]:
    """Whether the namespace refuses pods that are less restricted."""
    label = "pod-security.kubernetes.io/enforce"
    for manifest in below(subject, f"k8s/overlays/{environment['name']}/"):
        if manifest.kind == "Namespace":
            level = next(manifest.find("metadata", "labels", label), None)
            if level is None or level.value != "restricted":
                where = level or Value(None, manifest.file, manifest.node.start_mark.line + 1)
                what = f"is {level.value}" if level else "is not set"
                yield _finding(where, f"{label} {what}", "Write restricted, as the pods are.")


def _finding(value: Value, what: str, fix: str) -> Finding:
    return Finding("pod-security", value.file, value.line, what, fix)


def default_deny(subject: Subject) -> Iterator[Finding]:
    """Nothing may talk in the namespace unless a policy allows it."""
    for environment in made(subject):
        overlay = f"k8s/overlays/{environment['name']}/"
        manifests = [*below(subject, "k8s/base/"), *below(subject, overlay)]
        policies = [manifest for manifest in manifests if manifest.kind == "NetworkPolicy"]
        if any(map(_denies, policies)):
            continue
        broken = next((one for one in policies if one.name == _DENY), None)
        file = broken or next(iter([*policies, *manifests]), None)
        if file is not None:
            yield Finding(
                _DENY,
                file.file,
                broken.node.start_mark.line + 1 if broken else 0,
                "no policy denies what no other policy allows",
                "Bring back the NetworkPolicy default-deny: all pods (podSelector: {}), both "
                "policyTypes, no rule.",
            )


_DENY = "default-deny"


def _denies(policy: Manifest) -> bool:
    """Whether a policy holds for every pod, in both directions, and allows nothing itself."""
    spec = policy.get("spec")
    return (
        isinstance(spec, dict)
        and not spec.get("podSelector")
        and isinstance(types := spec.get("policyTypes"), list)
        and "Ingress" in types
        and "Egress" in types
        and not spec.get("ingress")
        and not spec.get("egress")
    )


CHECKS: tuple[Check, ...] = (
    Check("pod-security", "the pod gives up every right that it does not need", restrictions),
    Check(_DENY, "nothing may talk unless a policy allows it", default_deny),
)
