"""The seams of configuration: variables and secrets, from the spec to where the app reads them."""

from __future__ import annotations

from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Manifest, Value, pairs
from generator.check.makefile import run_variables
from generator.check.reading import (
    Path,
    below,
    container,
    image,
    layered,
    made,
    mapping,
    named,
)
from generator.render.context import Context


def configuration(subject: Subject) -> Iterator[Finding]:
    """X-13: Every environment, and the command that runs the app, has the variables of the spec."""
    environments = made(subject)
    for environment in environments:
        file = f"k8s/overlays/{environment['name']}/kustomization.yaml"
        if file not in subject.files:
            continue
        found = dict(_literals(subject, file))
        wanted = {item["name"]: str(item["value"]) for item in environment["config"]}
        yield from _differences(file, wanted, found, extra=True)
        if wanted:
            yield from _unread(subject, environment)
    run = run_variables(subject.files)
    if run:
        # As make sees a line: what spans several cannot stand there.
        first = {
            item["name"]: str(item["value"])
            for item in subject.context["environments"][0]["config"]
        }
        lines = {name: text for name, text in first.items() if "\n" not in text}
        yield from _differences("Makefile", lines, run, extra=False)


def _literals(subject: Subject, file: str) -> Iterator[tuple[str, Value]]:
    for manifest in below(subject, file):
        for value in manifest.find("configMapGenerator", "*", "literals", "*"):
            name, _, text = str(value.value).partition("=")
            yield name, value._replace(value=_unquoted(text))


def _unquoted(text: str) -> str:
    """What kustomize takes a literal's value for: it strips one pair of quotes."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _differences(
    file: str, wanted: dict[str, str], found: dict[str, Value], *, extra: bool
) -> Iterator[Finding]:
    for name in sorted({*wanted, *(found if extra else ())}):
        if name not in found:
            how = "is not here"
        elif name not in wanted:
            how = "is not in the spec"
        elif found[name].value != wanted[name]:
            how = "differs from the spec"
        else:
            continue
        yield Finding(
            "X-13",
            file,
            found[name].line if name in found else 0,
            f"the variable {name} {how}",
            f"Write here what the spec says, or set {_key(file, name)} in app.yaml.",
            f"config.{name}",
        )


def _key(file: str, name: str) -> str:
    """The key of the spec behind a variable of a file: an overlay's is one environment's own."""
    parts = file.split("/")
    return f"environments.{parts[2]}.config.{name}" if len(parts) > 3 else f"config.{name}"


def _unread(subject: Subject, environment: Context) -> Iterator[Finding]:
    """Whether the pod takes its variables from the ConfigMap, and none from elsewhere."""
    app = container(subject)
    reference = (*app, "envFrom", "*", "configMapRef", "name")
    where = layered(subject, environment, "Deployment", *app)
    if layered(subject, environment, "Deployment", *reference) is None and where is not None:
        yield Finding(
            "X-13",
            where.file,
            where.line,
            f"the app gets no variables in {environment['name']}",
            f"Let its envFrom name the ConfigMap {subject.context['name']}.",
            "config",
        )
    names = {item["name"] for item in environment["config"]}
    for name, value in _set_by_hand(subject, environment, app):
        if name in names:
            yield Finding(
                "X-13",
                value.file,
                value.line,
                f"the variable {name} is set here too, and this value wins",
                f"Remove it: its value is config.{name} in app.yaml.",
                f"config.{name}",
            )


def _set_by_hand(subject: Subject, environment: Context, app: Path) -> Iterator[tuple[str, Value]]:
    for manifest in named(subject, "Deployment", environment):
        for value in manifest.find(*app, "env", "*"):
            yield str(mapping(value).get("name")), value


def literals(subject: Subject) -> Iterator[Finding]:
    """X-13: No secret is a variable: not of the pod, not of the image."""
    names = {secret["name"] for secret in subject.context["secrets"]}
    for environment in made(subject):
        for name, value in _set_by_hand(subject, environment, container(subject)):
            if name in {secret["name"] for secret in environment["secrets"]}:
                yield _exposed(value, f"the secret {name} is an environment variable", name)
    for one in (*image(subject, "ENV"), *image(subject, "ARG")):
        for name in sorted(names & {*pairs(one.text), one.text.partition("=")[0]}):
            where = Value(None, "Dockerfile", one.line)
            yield _exposed(where, f"the secret {name} is written into the image", name)


def _exposed(value: Value, what: str, name: str) -> Finding:
    return Finding(
        "X-13",
        value.file,
        value.line,
        what,
        f"Remove it: the app reads the file that {name}_FILE names.",
        f"secrets.{name}",
    )


def secrets(subject: Subject) -> Iterator[Finding]:
    """X-13: The driver fetches the secrets of the spec, and the app finds them where they are."""
    for environment in made(subject):
        for manifest in below(subject, f"k8s/overlays/{environment['name']}/"):
            if manifest.kind == "SecretProviderClass":
                yield from _fetched(manifest, environment)
        yield from _mounted(subject, environment)


def _fetched(manifest: Manifest, environment: Context) -> Iterator[Finding]:
    for objects in manifest.find("spec", "parameters", "objects"):
        for secret in environment["secrets"]:
            name, reference = secret["name"], secret["reference"]
            if f'"{reference}"' not in str(objects.value):
                yield Finding(
                    "X-13",
                    objects.file,
                    objects.line,
                    f"the secret {name} is not fetched from {reference}",
                    f"Name {reference} here, or change secrets.{name} in app.yaml.",
                    f"secrets.{name}",
                )


def _mounted(subject: Subject, environment: Context) -> Iterator[Finding]:
    app, wanted = container(subject), {secret["name"] for secret in environment["secrets"]}
    deployments = list(named(subject, "Deployment", environment))
    mounts = {
        str(value.value)
        for manifest in deployments
        for value in manifest.find(*app, "volumeMounts", "*", "mountPath")
    }
    told = dict(_set_by_hand(subject, environment, app))
    for name in sorted(wanted):
        value = told.get(f"{name}_FILE")
        path = str(mapping(value).get("value"))
        if value is None:
            where = layered(subject, environment, "Deployment", *app)
            what = f"{name}_FILE is not set in {environment['name']}, so the app cannot find {name}"
        elif path not in {f"{mount}/{name}" for mount in mounts}:
            where, what = value, f"{name}_FILE is {path}, where nothing is mounted"
        else:
            continue
        if where is not None:
            yield Finding(
                "X-13",
                where.file,
                where.line,
                what,
                f"Write the mount path of the secrets, then /{name}.",
                f"secrets.{name}",
            )


CHECKS: tuple[Check, ...] = (
    Check("X-13", "the same variables everywhere", configuration),
    Check("X-13", "no secret is a variable of the pod or of the image", literals),
    Check("X-13", "every secret is fetched, and found where it is mounted", secrets),
)
