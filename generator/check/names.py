"""The seams of names: what one file names, another provides.

Each check reads the files as they are, edits included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Manifest, Step, Value
from generator.check.reading import (
    ALB,
    COLORS,
    CONTAINERS,
    NOTE,
    POD,
    below,
    kinds,
    made,
    mapping,
    named,
    same,
)
from generator.render.context import Context


def references(subject: Subject) -> Iterator[Finding]:
    """X-18: Every file that a kustomization names is there, and every object that another one names."""
    for manifest in kinds(subject, "Kustomization", "Component"):
        here = manifest.file.rpartition("/")[0]
        for key, step in (("resources", ()), ("components", ()), ("patches", ("path",))):
            for value in manifest.find(key, "*", *step):
                if not _exists(subject, _joined(here, str(value.value))):
                    yield Finding(
                        "X-18",
                        value.file,
                        value.line,
                        f"{value.value} is not there",
                        "Bring the file back, or take this line out.",
                    )

    for environment in made(subject):
        overlay = f"k8s/overlays/{environment['name']}/"
        manifests = [*below(subject, "k8s/base/"), *below(subject, overlay)]
        yield from _objects(manifests)
        yield from _backends(manifests)


# Where an object names another: its kind, the path, the kind that must have the name and where.
_NAMED: tuple[tuple[str, tuple[Step, ...], str, tuple[Step, ...]], ...] = (
    ("Deployment", (*POD, "serviceAccountName"), "ServiceAccount", ("metadata", "name")),
    (
        "Deployment",
        (*POD, "volumes", "*", "csi", "volumeAttributes", "secretProviderClass"),
        "SecretProviderClass",
        ("metadata", "name"),
    ),
    (
        "Deployment",
        (*CONTAINERS, "envFrom", "*", "configMapRef", "name"),
        "Kustomization",
        ("configMapGenerator", "*", "name"),
    ),
    (
        "HorizontalPodAutoscaler",
        ("spec", "scaleTargetRef", "name"),
        "Deployment",
        ("metadata", "name"),
    ),
)


def _objects(manifests: list[Manifest]) -> Iterator[Finding]:
    for kind, path, provider, where in _NAMED:
        names = {str(v.value) for m in manifests if m.kind == provider for v in m.find(*where)}
        for manifest in manifests:
            if manifest.kind == kind:
                for value in manifest.find(*path):
                    if str(value.value) not in names:
                        what = "ConfigMap" if provider == "Kustomization" else provider
                        yield _unknown(value, what, sorted(names))


def _backends(manifests: list[Manifest]) -> Iterator[Finding]:
    """The Services that an Ingress sends requests to, and their ports."""
    ports: dict[str, set[str]] = {}
    for manifest in manifests:
        if manifest.kind == "Service":
            found = ports.setdefault(manifest.name, set())
            for key in ("name", "port"):
                found |= {str(v.value) for v in manifest.find("spec", "ports", "*", key)}
    for manifest in (m for m in manifests if m.kind == "Ingress"):
        yield from _actions(manifest, sorted(ports))
        actions = mapping(next(manifest.find(*NOTE), None))
        for value in manifest.find(
            "spec", "rules", "*", "http", "paths", "*", "backend", "service"
        ):
            name, port = str(mapping(value).get("name")), mapping(value).get("port")
            if f"{ALB}actions.{name}" in actions:
                continue
            asked = [str(text) for text in port.values()] if isinstance(port, dict) else []
            if name not in ports:
                yield _unknown(value._replace(value=name), "Service", sorted(ports))
            elif not ports[name] & set(asked):
                what = value._replace(value=", ".join(asked))
                yield _unknown(what, f"port of the Service {name}", sorted(ports[name]))


def _actions(manifest: Manifest, services: list[str]) -> Iterator[Finding]:
    """The Services that an annotation divides requests between."""
    for action in manifest.find(*NOTE, "*"):
        for name in re.findall(r'"serviceName": *"([^"]*)"', str(action.value)):
            if name not in services:
                yield _unknown(action._replace(value=name), "Service", services)


def _unknown(value: Value, what: str, known: list[str]) -> Finding:
    return Finding(
        "X-18",
        value.file,
        value.line,
        f"there is no {what} named {value.value}",
        f"There is: {', '.join(known) or 'none'}. Give both one name.",
    )


def namespaces(subject: Subject) -> Iterator[Finding]:
    """X-10: Overlay, Namespace and the release script name one namespace for an environment."""
    for environment in made(subject):
        expected, overlay = environment["namespace"], f"k8s/overlays/{environment['name']}/"
        found = [
            value
            for manifest in below(subject, overlay)
            for path in _NAMESPACE.get(manifest.kind, ())
            for value in manifest.find(*path)
        ]
        yield from same("X-10", "the namespace", found, expected, "name")
        script = "k8s/release.sh"
        if script in subject.files and f"namespace={expected}\n" not in subject.files.text(script):
            yield Finding(
                "X-10",
                script,
                0,
                f"no environment here has the namespace {expected}",
                f"Write namespace={expected} for {environment['name']}.",
            )


_NAMESPACE: dict[str, tuple[tuple[Step, ...], ...]] = {
    "Kustomization": (("namespace",),),
    "Namespace": (("metadata", "name"),),
}


def selectors(subject: Subject) -> Iterator[Finding]:
    """X-18: What chooses pods by their labels (Service, budget, policy, Deployment) finds the app's."""
    for environment in made(subject):
        labels = _pod_labels(subject, environment)
        for kind, path in _SELECTORS.items():
            manifests = list(named(subject, kind, environment))
            chosen = [(one, value) for one in manifests for value in one.find(*path)]
            for _, value in chosen:
                yield from _selects(value, kind, labels, colors=_colors(environment))
            # A patch need not repeat the selector; the object that it patches must have one.
            for manifest in manifests:
                if manifest.name not in {one.name for one, _ in chosen}:
                    nothing = Value({}, manifest.file, manifest.node.start_mark.line + 1)
                    yield from _selects(nothing, kind, labels, colors=False)


_SELECTORS: dict[str, tuple[Step, ...]] = {
    "Deployment": ("spec", "selector", "matchLabels"),
    "Service": ("spec", "selector"),
    "PodDisruptionBudget": ("spec", "selector", "matchLabels"),
    "NetworkPolicy": ("spec", "podSelector", "matchLabels"),
}


def _colors(environment: Context) -> bool:
    """Whether two sets of pods take turns: which one is on is written by a release, not here."""
    return bool(environment["rollout"]["strategy"] != "rolling")


def _pod_labels(subject: Subject, environment: Context) -> dict[str, str]:
    """The labels that the app's pods have in an environment, once kustomize has built it."""
    found: dict[str, str] = {}
    for manifest in named(subject, "Deployment", environment):
        for value in manifest.find("spec", "template", "metadata", "labels"):
            found |= {str(key): str(text) for key, text in mapping(value).items()}
    folders = (
        "k8s/base/",
        f"releases/{environment['name']}/",
        f"k8s/overlays/{environment['name']}/",
    )
    for folder in folders:
        for manifest in below(subject, folder):
            if manifest.kind not in ("Kustomization", "Component"):
                continue
            groups = [mapping(value) for value in manifest.find("labels", "*")]
            added = [one for one in groups if {"includeTemplates", "includeSelectors"} & set(one)]
            for pairs in (*(one.get("pairs") for one in added), manifest.get("commonLabels")):
                if isinstance(pairs, dict):
                    found |= {str(key): str(text) for key, text in pairs.items()}
    return found


def _selects(value: Value, kind: str, labels: dict[str, str], *, colors: bool) -> Iterator[Finding]:
    wanted = {str(key): str(text) for key, text in mapping(value).items()}
    if colors and wanted.get("color") in COLORS:
        del wanted["color"]
    wrong = [f"{key}: {text}" for key, text in wanted.items() if labels.get(key) != text]
    if wrong or not wanted:
        yield Finding(
            "X-18",
            value.file,
            value.line,
            f"no pod of the app has the label {', '.join(wrong)}"
            if wrong
            else f"this {kind} selects no pods",
            f"The pods have: {', '.join(f'{key}: {text}' for key, text in sorted(labels.items()))}.",
        )


def objects(subject: Subject) -> Iterator[Finding]:
    """X-18: Every object that the spec makes is there, under its name, wherever it is written."""
    for environment in made(subject):
        folders = ("k8s/base/", f"k8s/overlays/{environment['name']}/")
        there = {(one.kind, one.name) for one in subject.manifests if one.file.startswith(folders)}
        for manifest in subject.promised:
            kind, name = manifest.kind, manifest.name
            # What is in no file any more is named as such, and where one cannot be read, that is.
            lost = manifest.file not in subject.files or manifest.file in {
                broken.file for broken in subject.unreadable
            }
            if (
                manifest.file.startswith(folders)
                and name
                and not lost
                and (kind, name) not in there
            ):
                yield Finding(
                    "X-18",
                    manifest.file,
                    0,
                    f"there is no {kind} named {name}",
                    "Bring it back, or take out of the spec what asks for it.",
                )


def reached(subject: Subject) -> Iterator[Finding]:
    """X-18: Every file that makes a part of an environment is built into it."""
    for environment in made(subject):
        overlay = f"k8s/overlays/{environment['name']}"
        found = _reached(subject, overlay)
        for path in sorted(subject.wanted):
            if (
                path.startswith((f"{overlay}/", "k8s/base/"))
                and path.endswith(".yaml")
                and path in subject.files
                and path not in found
            ):
                listed = path.rpartition("/")[2] if path.startswith("k8s/base/") else ""
                name = listed or path.removeprefix(f"{overlay}/")
                yield Finding(
                    "X-18",
                    f"{'k8s/base' if listed else overlay}/kustomization.yaml",
                    0,
                    f"{path} is not a part of {environment['name']}: nothing here names {name}",
                    f"Name {name} again, under resources or patches, or delete the file.",
                )


def _reached(subject: Subject, overlay: str) -> set[str]:
    """The files that an overlay's kustomization names, in all folders that it leads to."""
    found: set[str] = set()
    folders = [overlay]
    while folders:
        folder = folders.pop()
        file = f"{folder}/kustomization.yaml"
        if file in found:
            continue
        found.add(file)
        for manifest in below(subject, file):
            for key, step in _NAMES:
                for value in manifest.find(key, "*", *step):
                    path = _joined(folder, str(value.value))
                    if f"{path}/kustomization.yaml" in subject.files:
                        folders.append(path)
                    found.add(path)
    return found


_NAMES: tuple[tuple[str, tuple[Step, ...]], ...] = (
    ("resources", ()),
    ("components", ()),
    ("patches", ("path",)),
    ("patchesStrategicMerge", ()),
)


def _joined(folder: str, path: str) -> str:
    parts = folder.split("/")
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _exists(subject: Subject, path: str) -> bool:
    return path in subject.files or any(file.startswith(path + "/") for file in subject.files)


CHECKS: tuple[Check, ...] = (
    Check("X-10", "one namespace for an environment", namespaces),
    Check("X-18", "what one file names, another provides", references),
    Check("X-18", "every object that the spec makes is there", objects),
    Check("X-18", "every file is built into its environment", reached),
    Check("X-18", "what chooses pods by label finds the app's", selectors),
)
