"""The `app.yaml` of a new project: the keys that people change, each with half a line of comment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from generator.spec.model import Spec, keys

_COLUMN = 38


def starter(name: str, targets: Iterable[str], language: str, version: str, kubernetes: str) -> str:
    """A complete spec with the defaults of today written down, so that none of them moves later."""
    rows: tuple[tuple[str, str], ...] = (
        ("gen: 1", _doc("gen")),
        (f"name: {name}", _doc("name")),
        (f"owner: {Spec().owner}", _doc("owner")),
        (f"description: The app {name}", _doc("description")),
        (f"targets: [{', '.join(targets)}]", _doc("targets")),
        ("", ""),
        ("runtime:", ""),
        (f"  language: {language}", "nodejs or python"),
        (f'  version: "{version}"', "release line; fixed here until you raise it"),
        ("", ""),
        ("http:", ""),
        ("  port: 8080", _doc("http", "port")),
        ('  routes: ["GET /"]', _doc("http", "routes")),
        ("  request_timeout: 15s", _doc("http", "request_timeout")),
        ("health:", ""),
        ("  live: /healthz", _doc("health", "live")),
        ("  ready: /readyz", _doc("health", "ready")),
        ("  start: 10s", _doc("health", "start")),
        ("  drain: 20s", _doc("health", "drain")),
        ("", ""),
        ("config:", _doc("config")),
        ("  GREETING: Hello, World!", ""),
        ("secrets: {}", f"e.g. {{API_TOKEN: {{aws_secret: {name}/api-token}}}}; never a value"),
        ("", ""),
        ("resources: {cpu: 250m, memory: 256Mi}", "what one copy gets"),
        ("scale: {min: 3, max: 10, cpu: 60%}", "copies, and the CPU use to aim at"),
        (
            "rollout: {strategy: rolling, bake: 60s}",
            "how a new version comes, and how long it is watched",
        ),
        ("rollback: {automatic: true, keep: 5}", "what happens when that fails"),
        ("traffic:", ""),
        ("  hosts: {}", _doc("traffic", "hosts")),
        ("  public: true", _doc("traffic", "public")),
        ("", ""),
        *_options(targets, kubernetes),
        ("environments:", "what differs; everything above holds for all"),
        ("  stage: {scale: {min: 1, max: 2}}", ""),
        ("  prod: {}", ""),
    )
    lines = [f"{text:<{_COLUMN}}  # {why}" if why else text for text, why in rows]
    return _HEAD.format(name=name) + "\n".join(lines) + "\n"


_HEAD = """\
# yaml-language-server: $schema=.gen/schema.json
# The spec of {name}: gen makes every deployment artifact from it. All keys: `gen schema`.
"""


def _options(targets: Iterable[str], kubernetes: str) -> Iterable[tuple[str, str]]:
    if "container" in targets:
        yield "container:", ""
        yield f'  kubernetes: "{kubernetes}"', "minor version; fixed here until you raise it"
        yield "", ""


def _doc(*path: str) -> str:
    section: Any = Spec
    for part in path[:-1]:
        section = keys(section)[part].kind
    return keys(section)[path[-1]].doc
