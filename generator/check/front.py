"""The seams of the front: what the balancer is told, and what the release script takes for granted.

Both say again what the spec says, and nothing else would notice an edit that splits them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Manifest, Value
from generator.check.reading import ALB, NOTE, layered, made, mapping, named, same
from generator.render.context import Context

_SCRIPT = "k8s/release.sh"


def settings(subject: Subject) -> Iterator[Finding]:
    """The release script has the cluster, account, region and strategy of each environment."""
    if _SCRIPT not in subject.files:
        return
    lines = subject.files.text(_SCRIPT).splitlines()
    for environment in made(subject):
        name, rollout = environment["name"], environment["rollout"]
        found = _block(lines, f"'{name}')")
        expected = {
            "cluster": (environment["cluster"], "container.cluster"),
            "region": (environment["region"], "region"),
            "account": (environment["account"] or "", "account"),
            "strategy": (rollout["strategy"], "rollout.strategy"),
            "how": ("colors" if rollout["colors"] else "rolling", "rollout.strategy"),
            "bake_s": (rollout["bake_s"], "rollout.bake"),
            "automatic_rollback": (
                "yes" if environment["rollback"]["automatic"] else "no",
                "rollback.automatic",
            ),
        }
        for key, (value, field) in expected.items():
            here = found.get(key, Value("missing", _SCRIPT, found["'"].line if found else 0))
            yield from same("release", f"{key} of {name}", [here], value, field)


def _block(lines: list[str], opening: str) -> dict[str, Value]:
    """The variables of one environment, as the branch of a `case` sets them."""
    found: dict[str, Value] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() == opening:
            found["'"] = Value(opening, _SCRIPT, number)
        elif found:
            if line.strip() == ";;":
                break
            key, equals, value = line.strip().partition("=")
            if equals:
                found[key] = Value(value.strip("'\""), _SCRIPT, number)
    return found


_PROMISED = {
    "scheme": "traffic.public",
    "certificate-arn": "traffic.certificate_arn",
    "ssl-redirect": "traffic.certificate_arn",
}


def balancer(subject: Subject) -> Iterator[Finding]:
    """The balancer is open to whom the spec says, with its certificate and under its name."""
    for environment in made(subject):
        folder = f"k8s/overlays/{environment['name']}/"
        for manifest in named(subject, "Ingress", environment):
            for key, field in _PROMISED.items():
                expected = next(
                    (
                        one.get(*NOTE, ALB + key)
                        for one in subject.promised
                        if one.kind == "Ingress" and one.file.startswith(folder)
                    ),
                    None,
                )
                if expected is not None:
                    nothing = Value("missing", manifest.file, _line(manifest))
                    here = layered(subject, environment, "Ingress", *NOTE, ALB + key) or nothing
                    yield from same("balancer", key, [here], expected, field)
            hosts = list(manifest.find("spec", "rules", "*", "host"))
            host = environment["host"]
            if host and host not in [value.value for value in hosts]:
                where = hosts[0] if hosts else Value("none", manifest.file, _line(manifest))
                yield from same("balancer", "the host", [where], host, "traffic.hosts.container")


def _line(manifest: Manifest) -> int:
    return manifest.node.start_mark.line + 1


def drained(subject: Subject) -> Iterator[Finding]:
    """X-07: The balancer lets requests in flight end within the drain budget, and no sooner."""
    wanted = subject.context["times"]["drain_s"]
    for environment in made(subject):
        value = layered(subject, environment, "Ingress", *NOTE, ALB + "target-group-attributes")
        delay = re.search(
            r"deregistration_delay\.timeout_seconds=([0-9]+)", str(value and value[0])
        )
        if value and delay:
            found = [value._replace(value=delay[1])]
            yield from same("X-07", "deregistration_delay", found, wanted, "health.drain")


def hidden(subject: Subject) -> Iterator[Finding]:
    """X-02: What the app tells the platform, the balancer does not tell the public."""
    health = subject.context["health"]
    for environment in made(subject):
        for manifest in named(subject, "Ingress", environment):
            paths = [
                mapping(one) for one in manifest.find("spec", "rules", "*", "http", "paths", "*")
            ]
            shut = {path.get("path") for path in paths if _is_shut(path)}
            for path in (health["live"], health["ready"], "/version"):
                for slash in ("", "/"):
                    if path + slash not in shut:
                        yield Finding(
                            "X-02",
                            manifest.file,
                            _line(manifest),
                            f"{path}{slash} is open to the public",
                            "Send it to the backend not-public, as the other health paths.",
                            "health",
                        )


def _is_shut(path: Context) -> bool:
    backend = path.get("backend")
    service = backend.get("service") if isinstance(backend, dict) else None
    return isinstance(service, dict) and service.get("name") == "not-public"


CHECKS: tuple[Check, ...] = (
    Check("release", "the release script knows each environment as the spec does", settings),
    Check("balancer", "the balancer is open to whom the spec says, under its name", balancer),
    Check("X-02", "the balancer hides what only the platform asks for", hidden),
    Check("X-07", "the balancer gives requests in flight the drain budget", drained),
)
