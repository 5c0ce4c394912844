"""Rules between keys of the spec, each a function from a spec to what it breaks.

A rule names every key it reads (`path` first), so that it is left out where one of them is already
wrong, and so that the message can show the lines of the others. Rules of one approach alone stand
with that approach in `generator.targets`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from generator.spec.model import Spec
from generator.spec.parse import Path
from generator.spec.words import credential

SHUTDOWN_DELAY_MS = 1000
"""How long the app still accepts after SIGTERM, so that balancers notice; the app's default."""

DRAIN_MARGIN_MS = 1000
"""What is left between the last answer and the end of the drain budget."""


class Broken(NamedTuple):
    """A broken rule: `path` is where the fault shows, `others` are the keys it clashes with."""

    code: str
    path: Path
    summary: str
    fix: str
    others: tuple[Path, ...] = ()
    detail: str = ""
    warning: bool = False


Rule = Callable[[Spec], Iterator[Broken]]


def seconds(milliseconds: int) -> str:
    """Milliseconds as the spec writes them."""
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def scale_order(spec: Spec) -> Iterator[Broken]:
    low, high = spec.scale.min, spec.scale.max
    if low > high:
        yield Broken(
            "scale-order",
            ("scale", "min"),
            f"scale.min must not exceed scale.max (min {low}, max {high})",
            f"Raise scale.max to {low} or lower scale.min to {high}.",
            (("scale", "max"),),
        )


def health_paths(spec: Spec) -> Iterator[Broken]:
    if spec.health.live == spec.health.ready not in {"/", "/version"}:
        yield Broken(
            "same-health-path",
            ("health", "ready"),
            f"health.live and health.ready are both {spec.health.live}",
            "Give them two paths, such as /healthz and /readyz.",
            (("health", "live"),),
            "A copy that drains must stay alive and turn unready; one path cannot say both.",
        )
    for name, path in (("live", spec.health.live), ("ready", spec.health.ready)):
        if len(path) > 100:
            yield Broken(
                "bad-path",
                ("health", name),
                f"health.{name} is longer than 100 characters",
                f"Choose a short path, such as /{name}z.",
                (),
                "Balancers match paths of up to 128 characters.",
            )
        if path in ("/", "/version"):
            yield Broken(
                "reserved-path",
                ("health", name),
                f"health.{name} cannot be {path}",
                f"Choose another path, such as /{name}z.",
                (),
                "The app answers its version there."
                if path == "/version"
                else "Balancers hide the health paths from the public, and / is the public front.",
            )


def drain_budget(spec: Spec) -> Iterator[Broken]:
    need = SHUTDOWN_DELAY_MS + spec.http.request_timeout + DRAIN_MARGIN_MS
    if spec.health.drain < need:
        yield Broken(
            "drain-too-short",
            ("health", "drain"),
            f"health.drain {seconds(spec.health.drain)} is too short for "
            f"http.request_timeout {seconds(spec.http.request_timeout)}",
            f"Raise health.drain to {seconds(need)} or shorten http.request_timeout.",
            (("http", "request_timeout"),),
            "The drain budget holds the shutdown delay (1s), the longest request and 1s to exit.",
        )


def platform_limits(spec: Spec) -> Iterator[Broken]:
    limits: tuple[tuple[Path, int, int, int, str], ...] = (
        (("http", "request_timeout"), spec.http.request_timeout, 1000, 3_600_000, "Balancers hold"),
        (("health", "start"), spec.health.start, 1000, 900_000, "Health checks wait"),
        (("health", "drain"), spec.health.drain, 1000, 3_600_000, "Balancers drain"),
        (("rollout", "bake"), spec.rollout.bake, 0, 3_600_000, "A deployment watches"),
    )
    for path, value, low, high, who in limits:
        if not low <= value <= high or value % 1000:
            yield Broken(
                "duration-out-of-range",
                path,
                f"{'.'.join(map(str, path))} {seconds(value)} is not a whole number of seconds "
                f"from {seconds(low)} to {seconds(high)}",
                f"Choose {seconds(low)} to {seconds(high)}.",
                (),
                f"{who} for whole seconds, and not longer than that.",
            )
    if spec.resources.memory < 64 * 2**20:
        yield Broken(
            "out-of-range",
            ("resources", "memory"),
            "resources.memory is below 64Mi",
            "Choose 64Mi or more; the runtimes alone need about 40Mi.",
        )


def shape(route: str) -> str:
    """A route without the names of its variables: two of one shape cannot be told apart."""
    return re.sub(r"\{[^{}]*\}", "{}", route)


def routes(spec: Spec) -> Iterator[Broken]:
    seen: dict[str, int] = {}
    taken = {
        spec.health.live: ("health", "live"),
        spec.health.ready: ("health", "ready"),
        "/version": (),
    }
    for index, route in enumerate(spec.http.routes):
        here: Path = ("http", "routes", index)
        first = seen.setdefault(shape(route), index)
        if first != index:
            same = spec.http.routes[first]
            yield Broken(
                "route-twice",
                here,
                f"{route} stands twice"
                if same == route
                else f"{route} and {same} have one shape: no request could tell them apart",
                "Remove one of them.",
                (("http", "routes", first),),
            )
        path = route.partition(" ")[2]
        if path in taken:
            other = taken[path]
            yield Broken(
                "route-taken",
                here,
                f"{path} is the app's own " + (".".join(other) or "version page"),
                "Choose another path for the route.",
                (other,) if other else (),
            )


def targets(spec: Spec) -> Iterator[Broken]:
    chosen = spec.targets
    for index, target in enumerate(chosen):
        if target in chosen[:index]:
            yield Broken(
                "target-twice",
                ("targets", index),
                f"{target} stands twice",
                "Remove one.",
                (("targets", chosen.index(target)),),
            )
    if "all" in chosen and len(chosen) > 1:
        yield Broken(
            "all-and-more",
            ("targets", chosen.index("all")),
            "all stands beside single targets",
            "Write `targets: all`, or only the single targets.",
        )


def names(spec: Spec) -> Iterator[Broken]:
    for name, secret in spec.secrets.items():
        if (secret.aws_secret is None) == (secret.aws_parameter is None):
            yield Broken(
                "secret-reference",
                ("secrets", name),
                f"secrets.{name} needs {'only ' if secret.aws_secret else ''}one of aws_secret and "
                "aws_parameter",
                f"Write {{aws_secret: path/to/{name.lower()}}} or {{aws_parameter: /path/to/{name.lower()}}}.",
            )
        if name in spec.config:
            yield Broken(
                "name-twice",
                ("secrets", name),
                f"{name} is both a secret and a config variable",
                "Give them two names.",
                (("config", name),),
            )
        if f"{name}_FILE" in spec.config:
            yield Broken(
                "reserved-variable",
                ("config", f"{name}_FILE"),
                f"{name}_FILE is reserved: it tells the app where the secret {name} is",
                "Choose another name.",
                (("secrets", name),),
            )
        if f"{name}_FILE" in spec.secrets:
            yield Broken(
                "reserved-variable",
                ("secrets", f"{name}_FILE"),
                f"{name}_FILE is reserved: it tells the app where the secret {name} is",
                "Choose another name.",
                (("secrets", name),),
            )
    for name, value in spec.config.items():
        if what := credential(name, value):
            yield Broken(
                "looks-like-a-secret",
                ("config", name),
                f"config.{name} looks like {what}",
                "Keep it in AWS Secrets Manager and refer to it: "
                f"secrets: {{{name}: {{aws_secret: path/to/it}}}}.",
                (),
                "What stands in the spec is written into files and committed.",
            )
    # As JSON: so `kubectl apply` keeps it in an annotation, which may hold 256 KiB.
    text = json.dumps(dict(spec.config), ensure_ascii=False)
    size = len(text.encode()) + 5 * sum(map(text.count, "<>&\u2028\u2029"))
    if size > 240 * 1024:
        yield Broken(
            "config-too-large",
            ("config",),
            f"config takes {size // 1024} KiB as JSON, the limit is 240 KiB",
            "Ship large values as files of the app.",
        )


def traffic(spec: Spec) -> Iterator[Broken]:
    hosts = spec.traffic.hosts
    zone, certificate = spec.traffic.zone, spec.traffic.certificate_arn
    if zone and certificate:
        yield Broken(
            "two-certificates",
            ("traffic", "certificate_arn"),
            "traffic.zone and traffic.certificate_arn are both set",
            "Keep zone to have certificates made, or certificate_arn to use one you have.",
            (("traffic", "zone"),),
        )
    for target, host in hosts.items():
        here: Path = ("traffic", "hosts", target)
        if spec.targets and "all" not in spec.targets and target not in spec.targets:
            yield Broken(
                "host-of-no-target",
                here,
                f"traffic.hosts names {target}, which is not among the targets",
                f"Remove it, or add {target} to targets.",
                (("targets",),),
            )
        first = next(other for other, claimed in hosts.items() if claimed == host)
        if first != target:
            yield Broken(
                "host-claimed-twice",
                here,
                f"{host} is claimed by {first} and by {target}",
                "Give each target its own host name.",
                (("traffic", "hosts", first),),
            )
        if not zone and not certificate and target != "server":
            yield Broken(
                "host-without-certificate",
                here,
                f"{host} needs a certificate",
                "Set traffic.certificate_arn to use one you have, or traffic.zone to have one made.",
            )
        if zone and host != zone and not host.endswith("." + zone):
            yield Broken(
                "host-outside-zone",
                here,
                f"{host} does not lie in the zone {zone}",
                f"Use a name below {zone}, or the zone that holds {host}.",
                (("traffic", "zone"),),
            )


def rollout(spec: Spec) -> Iterator[Broken]:
    if spec.rollout.max_surge.strip("%") == "0" and spec.rollout.max_unavailable.strip("%") == "0":
        yield Broken(
            "rollout-stuck",
            ("rollout", "max_surge"),
            "max_surge and max_unavailable are both 0: no copy could ever be replaced",
            "Set max_surge to 1.",
            (("rollout", "max_unavailable"),),
        )
    if spec.rollout.strategy == "canary" and not spec.rollout.bake:
        yield Broken(
            "canary-unwatched",
            ("rollout", "bake"),
            "a canary with rollout.bake 0s is not watched at all",
            "Set rollout.bake to a minute or more, or rollout.strategy to rolling.",
            (("rollout", "strategy"),),
        )


_ARM = re.compile(r"(a1|[a-z]+[0-9]+[a-z]*g[a-z]*)\..*")


def architecture(instance_type: str) -> str:
    """The processor of an EC2 instance type: the `g` after the generation means Graviton."""
    return "arm64" if _ARM.fullmatch(instance_type) else "x86_64"


def instance_types(spec: Spec) -> Iterator[Broken]:
    if architecture(spec.vm.instance_type) != spec.vm.architecture:
        yield Broken(
            "architecture-mismatch",
            ("vm", "instance_type"),
            f"{spec.vm.instance_type} is {architecture(spec.vm.instance_type)}, "
            f"vm.architecture is {spec.vm.architecture}",
            "Choose an instance type of that architecture, or change vm.architecture.",
            (("vm", "architecture"),),
        )
    if spec.container.node_type and spec.container.nodes != "managed":
        yield Broken(
            "node-type-unused",
            ("container", "node_type"),
            "container.node_type is set, but EKS Auto Mode chooses nodes by itself",
            "Remove node_type, or set container.nodes to managed.",
            (("container", "nodes"),),
        )


RULES: tuple[Rule, ...] = (
    targets,
    routes,
    health_paths,
    drain_budget,
    platform_limits,
    names,
    scale_order,
    rollout,
    traffic,
    instance_types,
)
