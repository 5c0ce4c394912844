"""The seams of a release: runtime, user, configuration, labels, the image, files that name others.

Only one spec can promise these. Each check collects what the files say, wherever they say it, and
compares it with what the spec says; a file edited by hand is read like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Value, dockerfile
from generator.check.reading import CONTAINER, POD, below, image, same, values


def runtime(subject: Subject) -> Iterator[Finding]:
    """X-03: The runtime in the image is the one in the spec."""
    version = subject.context["runtime"]["version"]
    for one in dockerfile(subject.files):
        base = re.fullmatch(r"BASE_IMAGE=(?:.*/)?(?:node|python):([0-9.]+)\b.*", one.text)
        if one.word == "ARG" and base:
            found = [Value(base[1], "Dockerfile", one.line)]
            line = [Value(_line_of(base[1], version), *v[1:]) for v in found]
            yield from same("X-03", "the runtime of the image", line, version, "runtime.version")


def _line_of(tag: str, version: str) -> str:
    """The part of a tag that names a release line: `24.3.1` is of line `24`."""
    return ".".join(tag.split(".")[: version.count(".") + 1])


def user(subject: Subject) -> Iterator[Finding]:
    """X-04: Image and pod name one user and group."""
    uid = subject.context["uid"]
    numbers = [
        Value(number, "Dockerfile", one.line)
        for one in image(subject, "USER")
        for number in one.text.split(":")
    ]
    for key in ("runAsUser", "runAsGroup", "fsGroup"):
        numbers += values(subject, "Deployment", *POD, "securityContext", key)
        numbers += values(subject, "Deployment", *CONTAINER, "securityContext", key)
    yield from (
        Finding(
            "X-04",
            value.file,
            value.line,
            f"user or group is {value.value}, elsewhere {uid}",
            f"Write {uid}: image and pod must name one user, above 10000.",
        )
        for value in numbers
        if str(value.value) != str(uid)
    )


def configuration(subject: Subject) -> Iterator[Finding]:
    """X-13: Every environment has the variables of the spec; no secret is among them."""
    for environment in subject.context["environments"]:
        folder = f"k8s/overlays/{environment['name']}/"
        wanted = {item["name"]: str(item["value"]) for item in environment["config"]}
        file = folder + "kustomization.yaml"
        if file not in subject.files:
            continue
        found: dict[str, Value] = {}
        for manifest in below(subject, folder):
            for value in manifest.find("configMapGenerator", "*", "literals", "*"):
                name, _, text = str(value.value).partition("=")
                found[name] = value._replace(value=_unquoted(text))
        for name in sorted({*wanted, *found}):
            if name not in found or name not in wanted or found[name].value != wanted[name]:
                line = found[name].line if name in found else 0
                how = (
                    "is not here"
                    if name not in found
                    else "is not in the spec"
                    if name not in wanted
                    else "differs from the spec"
                )
                yield Finding(
                    "X-13",
                    file,
                    line,
                    f"the variable {name} {how}",
                    f"Set config.{name} in app.yaml, so that every approach gets it.",
                    f"config.{name}",
                )
        secrets = {item["name"] for item in environment["secrets"]}
        for value in values(subject, "Deployment", *CONTAINER, "env", "*"):
            name = value.value.get("name")
            if name in secrets:
                yield Finding(
                    "X-13",
                    value.file,
                    value.line,
                    f"the secret {name} is an environment variable",
                    f"Remove it: the app reads the file that {name}_FILE names.",
                    f"secrets.{name}",
                )


def secrets(subject: Subject) -> Iterator[Finding]:
    """X-13: The driver fetches the secrets of the spec, and the app finds them where they are."""
    for environment in subject.context["environments"]:
        overlay = f"k8s/overlays/{environment['name']}/"
        wanted = {item["name"]: item["reference"] for item in environment["secrets"]}
        manifests = list(below(subject, overlay))
        for manifest in manifests:
            if manifest.kind != "SecretProviderClass":
                continue
            for objects in manifest.find("spec", "parameters", "objects"):
                for name, reference in wanted.items():
                    if f'"{reference}"' not in str(objects.value):
                        yield Finding(
                            "X-13",
                            objects.file,
                            objects.line,
                            f"the secret {name} is not fetched from {reference}",
                            f"Name {reference} here, or change secrets.{name} in app.yaml.",
                            f"secrets.{name}",
                        )
        mounts = [
            str(v.value)
            for m in manifests
            for v in m.find(*CONTAINER, "volumeMounts", "*", "mountPath")
        ]
        for manifest in manifests:
            for value in manifest.find(*CONTAINER, "env", "*"):
                name = str(value.value.get("name")).removesuffix("_FILE")
                path = str(value.value.get("value"))
                if name in wanted and path not in [f"{mount}/{name}" for mount in mounts]:
                    yield Finding(
                        "X-13",
                        value.file,
                        value.line,
                        f"{name}_FILE is {path}, where nothing is mounted",
                        f"Write the mount path of the secrets, then /{name}.",
                        f"secrets.{name}",
                    )


def _unquoted(text: str) -> str:
    """What kustomize takes a literal's value for: it strips one pair of quotes."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def labels(subject: Subject) -> Iterator[Finding]:
    """X-14: Every environment labels what it has with the same labels."""
    for environment in subject.context["environments"]:
        file = f"k8s/overlays/{environment['name']}/kustomization.yaml"
        wanted = {
            "app": subject.context["name"],
            "env": environment["name"],
            "approach": "container",
            "owner": environment["owner_label"],
            "app.kubernetes.io/managed-by": "gen",
        }
        for manifest in below(subject, file):
            for name, expected in wanted.items():
                found = list(manifest.find("labels", "*", "pairs", name))
                yield from same("X-14", f"the label {name}", found, expected, name)
                if not found:
                    yield Finding(
                        "X-14",
                        file,
                        0,
                        f"the label {name} is missing",
                        f"Add {name}: {expected}; cost and search go by it.",
                    )


def image_name(subject: Subject) -> Iterator[Finding]:
    """X-15: The Deployment names the image that releases/ replaces, and no release is `latest`."""
    name = subject.context["name"]
    for value in values(subject, "Deployment", *CONTAINER, "image"):
        if str(value.value) != name:
            yield Finding(
                "X-15",
                value.file,
                value.line,
                f"the image is {value.value}; releases/ replaces {name}",
                f"Write {name}: which version runs where stands in releases/.",
            )
    for manifest in below(subject, "releases/"):
        for value in manifest.find("images", "*", "newTag"):
            if value.value == "latest":
                yield Finding(
                    "X-15",
                    value.file,
                    value.line,
                    "the tag latest says nothing about what runs",
                    "Deploy by digest: make deploy-container writes it.",
                )


CHECKS: tuple[Check, ...] = (
    Check("X-03", "one runtime version", runtime),
    Check("X-04", "one user and group, above 10000", user),
    Check("X-13", "the same variables everywhere, secrets by reference", configuration),
    Check("X-13", "every secret is fetched, and found where it is mounted", secrets),
    Check("X-14", "the same labels on everything", labels),
    Check("X-15", "one image, by digest, never latest", image_name),
)
