"""The seams of names: what one file names, another provides.

Each check reads the files as they are, edits included.
"""

from __future__ import annotations

from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Manifest, Step, Value
from generator.check.reading import ALB, CONTAINER, POD, below, kinds, same


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

    for environment in subject.context["environments"]:
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
        (*CONTAINER, "envFrom", "*", "configMapRef", "name"),
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
        names = {v.value for m in manifests if m.kind == provider for v in m.find(*where)}
        for manifest in manifests:
            if manifest.kind == kind:
                for value in manifest.find(*path):
                    if value.value not in names:
                        what = "ConfigMap" if provider == "Kustomization" else provider
                        yield _unknown(value, what, sorted(map(str, names)))


def _backends(manifests: list[Manifest]) -> Iterator[Finding]:
    """The Services that an Ingress sends requests to, and their ports."""
    ports: dict[str, set[object]] = {}
    for manifest in manifests:
        if manifest.kind == "Service":
            found = ports.setdefault(str(manifest.get("metadata", "name")), set())
            for key in ("name", "port"):
                found |= {v.value for v in manifest.find("spec", "ports", "*", key)}
    for manifest in (m for m in manifests if m.kind == "Ingress"):
        actions = manifest.get("metadata", "annotations") or {}
        for value in manifest.find(
            "spec", "rules", "*", "http", "paths", "*", "backend", "service"
        ):
            name, port = value.value.get("name"), value.value.get("port", {})
            if f"{ALB}actions.{name}" in actions:
                continue
            if name not in ports:
                yield _unknown(value._replace(value=name), "Service", sorted(ports))
            elif not ports[name] & {port.get("name"), port.get("number")}:
                wanted = port.get("name") or port.get("number")
                known = sorted(map(str, ports[name]))
                yield _unknown(value._replace(value=wanted), f"port of the Service {name}", known)


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
    for environment in subject.context["environments"]:
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
)
