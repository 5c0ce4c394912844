"""The seams of a release: runtime, user, labels, the image.

Only one spec can promise these. Each check collects what the files say, wherever they say it, and
compares it with what the spec says; a file edited by hand is read like any other.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Manifest, Value, dockerfile
from generator.check.reading import (
    ALB,
    NOTE,
    POD,
    Path,
    below,
    container,
    image,
    made,
    mapping,
    place,
    same,
    values,
)
from generator.render.context import Context


def runtime(subject: Subject) -> Iterator[Finding]:
    """X-03: The runtime in the image is the one in the spec."""
    version = subject.context["runtime"]["version"]
    for one in dockerfile(subject.files):
        base = re.fullmatch(r"(?:BASE_IMAGE=)?(?:\S*/)?(?:node|python):([0-9.]+)\b.*", one.text)
        if one.word in ("ARG", "FROM") and base:
            line = Value(_line_of(base[1], version), "Dockerfile", one.line)
            yield from same("X-03", "the runtime of the image", [line], version, "runtime.version")


def _line_of(tag: str, version: str) -> str:
    """The part of a tag that names a release line: `24.3.1` is of line `24`."""
    return ".".join(tag.split(".")[: version.count(".") + 1])


def user(subject: Subject) -> Iterator[Finding]:
    """X-04: Image and pod name one user and one group, by number, above 10000."""
    users, groups = list(_image_user(subject, 0)), list(_image_user(subject, 1))
    app = container(subject)
    for level in (POD, app):
        users += values(subject, "Deployment", *level, "securityContext", "runAsUser")
        groups += values(subject, "Deployment", *level, "securityContext", "runAsGroup")
        groups += values(subject, "Deployment", *level, "securityContext", "fsGroup")
    for what, found in (("user", users), ("group", groups)):
        # What most places say: who changes all of them alike has changed nothing that matters here.
        votes = Counter(str(value.value) for value in found)
        votes[str(subject.context["uid"])] += 1 if len(votes) > 1 else 0
        agreed = votes.most_common(1)[0][0] if votes else ""
        for value in found:
            if str(value.value) != agreed or not _nobody(agreed):
                wanted = agreed if _nobody(agreed) else subject.context["uid"]
                yield Finding(
                    "X-04",
                    value.file,
                    value.line,
                    f"the {what} is {value.value}, elsewhere {wanted}",
                    f"Write {wanted}: image and pod must name one {what} by number, above 10000.",
                )
    if "Dockerfile" in subject.files and not list(image(subject, "USER")):
        uid = subject.context["uid"]
        fix = f"Write USER {uid}:{uid}."
        yield Finding("X-04", "Dockerfile", 0, "the image names no user, so it is root", fix)
    yield from _unnamed(subject, app)


def _image_user(subject: Subject, part: int) -> Iterator[Value]:
    """The users (part 0) or groups (part 1) of the image."""
    for one in image(subject, "USER"):
        names = one.text.split(":")
        if part < len(names):
            yield Value(names[part], "Dockerfile", one.line)


def _nobody(number: str) -> bool:
    return number.isdecimal() and int(number) > 10_000


def _unnamed(subject: Subject, app: Path) -> Iterator[Finding]:
    """What the pod must name itself: an image of somebody else may name another user, or none."""
    for key in ("runAsUser", "runAsGroup"):
        levels = [(*level, "securityContext", key) for level in (POD, app)]
        if not any(list(values(subject, "Deployment", *path)) for path in levels):
            for value in list(values(subject, "Deployment", *POD))[:1]:
                yield Finding(
                    "X-04",
                    value.file,
                    value.line,
                    f"the pod has no {key}",
                    f"Write {key}: {subject.context['uid']} in its securityContext.",
                )


def labels(subject: Subject) -> Iterator[Finding]:
    """X-14: Every environment labels what it has with the same labels, and tags the balancer so."""
    for environment in made(subject):
        file = f"k8s/overlays/{environment['name']}/kustomization.yaml"
        wanted = {
            "app": subject.context["name"],
            "env": environment["name"],
            "approach": "container",
            "owner": environment["owner_label"],
        }
        managed = {**wanted, "app.kubernetes.io/managed-by": "gen"}
        for manifest in below(subject, file):
            for name, expected in managed.items():
                found = list(manifest.find("labels", "*", "pairs", name))
                found += manifest.find("commonLabels", name)
                yield from same("X-14", f"the label {name}", found, expected, name)
                if not found:
                    yield _untagged(Value(None, file, 0), "label", name, expected)
            yield from _bare_pods(manifest)
        yield from _tags(subject, environment, {**wanted, "managed-by": "gen"})


def _bare_pods(manifest: Manifest) -> Iterator[Finding]:
    """Whether labels stop at the Deployment: its pods are what costs and what logs."""
    for group in manifest.find("labels", "*"):
        body = mapping(group)
        covers = body.get("includeTemplates") or body.get("includeSelectors")
        if "app" in (body.get("pairs") or ()) and not covers:
            yield Finding(
                "X-14",
                group.file,
                group.line,
                "these labels are not on the pods",
                "Write includeTemplates: true.",
            )


def _tags(subject: Subject, environment: Context, wanted: dict[str, str]) -> Iterator[Finding]:
    where = place(subject, environment, "Ingress", *NOTE, ALB + "tags")
    if where is None:
        return
    text = where.value if isinstance(where.value, str) else ""
    tags = {key.strip(): value for key, _, value in (tag.partition("=") for tag in text.split(","))}
    for name, expected in wanted.items():
        if name not in tags:
            yield _untagged(where, "tag", name, expected)
        else:
            found = where._replace(value=tags[name].strip())
            yield from same("X-14", f"the tag {name}", [found], expected, name)


def _untagged(where: Value, what: str, name: str, expected: str) -> Finding:
    return Finding(
        "X-14",
        where.file,
        where.line,
        f"the {what} {name} is missing",
        f"Add {name}={expected}; cost and search go by it."
        if what == "tag"
        else f"Add {name}: {expected}; cost and search go by it.",
    )


def image_name(subject: Subject) -> Iterator[Finding]:
    """X-15: The Deployment names the image that releases/ replaces by one of the spec's registry."""
    name = subject.context["name"]
    for value in values(subject, "Deployment", *container(subject), "image"):
        if str(value.value) != name:
            yield Finding(
                "X-15",
                value.file,
                value.line,
                f"the image is {value.value}; releases/ replaces {name}",
                f"Write {name}: which version runs where stands in releases/.",
            )
    for environment in made(subject):
        yield from _release(subject, environment)
        yield from _included(subject, environment)


def _release(subject: Subject, environment: Context) -> Iterator[Finding]:
    """Whether the record of what runs names the app's image, from the registry, in one version."""
    context, account = subject.context, subject.context["account"] or "ACCOUNT"
    repository = f"{account}.{context['registry_domain']}/{context['name']}"
    form = re.escape(repository).replace("ACCOUNT", "[0-9]{12}", 1)
    for manifest in below(subject, f"releases/{environment['name']}/"):
        images = [(v, mapping(v)) for v in manifest.find("images", "*")]
        entries = [(v, body) for v, body in images if body.get("name") == context["name"]]
        if not entries:
            where = Value(None, manifest.file, 0)
            yield _unreleased(where, f"no image is named for {context['name']}", repository)
        for value, body in entries:
            if not re.fullmatch(form, str(body.get("newName"))):
                what = f"the image is {body.get('newName')}, not {repository}"
                where = next(manifest.find("images", f"name={context['name']}", "newName"), value)
                yield _unreleased(where, what, repository)
            if body.get("newTag", "latest") == "latest" and "digest" not in body:
                where = next(manifest.find("images", f"name={context['name']}", "newTag"), value)
                yield Finding(
                    "X-15",
                    where.file,
                    where.line,
                    "the tag latest says nothing about what runs",
                    "Deploy by digest: make deploy-container writes it.",
                )


def _unreleased(where: Value, what: str, repository: str) -> Finding:
    return Finding(
        "X-15",
        where.file,
        where.line,
        what,
        f"Name {repository}: make deploy-container writes it.",
        "account",
    )


def _included(subject: Subject, environment: Context) -> Iterator[Finding]:
    """Whether the overlay takes its image from the record at all."""
    overlay = f"k8s/overlays/{environment['name']}/kustomization.yaml"
    record = f"../../../releases/{environment['name']}"
    for manifest in below(subject, overlay):
        listed = {str(v.value).rstrip("/") for v in manifest.find("components", "*")}
        if record not in listed:
            yield Finding(
                "X-15",
                overlay,
                0,
                f"the overlay does not take its image from releases/{environment['name']}",
                f"List {record} under components.",
            )


CHECKS: tuple[Check, ...] = (
    Check("X-03", "one runtime version", runtime),
    Check("X-04", "one user and group, above 10000", user),
    Check("X-14", "the same labels and tags on everything", labels),
    Check("X-15", "one image, of the registry, never latest", image_name),
)
