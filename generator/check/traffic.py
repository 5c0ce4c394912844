"""The seams of traffic: ports, health paths, time budgets.

Only one spec can promise these. Each check collects what the files say, wherever they say it, and
compares it with what the spec says; a file edited by hand is read like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Value, pairs
from generator.check.makefile import run_variables
from generator.check.reading import (
    ALB,
    CONTAINERS,
    NOTE,
    POD,
    Path,
    app_constant,
    app_routes,
    container,
    image,
    keep_alive_s,
    layered,
    made,
    mapping,
    number,
    place,
    same,
    values,
)
from generator.render.context import Context

_PROBES = {"startupProbe": "live", "livenessProbe": "live", "readinessProbe": "ready"}


def port(subject: Subject) -> Iterator[Finding]:
    """X-01: Image, pod, Service, policy, balancer and the command that runs the app use one port."""
    expected, app = subject.context["http"]["port"], container(subject)
    yield from same("X-01", "the port of the image", _image_ports(subject), expected, "http.port")
    # A port of the pod may go by its name, and a container of somebody else has ports of its own.
    ports = [mapping(v) for v in values(subject, "Deployment", *CONTAINERS, "ports", "*")]
    own = list(values(subject, "Deployment", *app, "ports", "*", "containerPort"))
    numbers = {str(value.value) for value in own}
    known = {str(one.get(key)) for one in ports for key in ("name", "containerPort")} - numbers
    known.add("traffic-port")  # how an Ingress says: the port of the target
    if str(expected) not in numbers:
        yield from same("X-01", "containerPort", own, expected, "http.port")
    places: tuple[tuple[str, str, Path], ...] = (
        ("targetPort", "Service", ("spec", "ports", "*", "targetPort")),
        ("the health check's port", "Ingress", (*NOTE, ALB + "healthcheck-port")),
        *(
            (f"the port of {probe}", "Deployment", (*app, probe, "httpGet", "port"))
            for probe in _PROBES
        ),
        ("PORT", "Deployment", (*app, "env", "name=PORT", "value")),
        (
            "the port that may be reached",
            "NetworkPolicy",
            ("spec", "ingress", "*", "ports", "*", "port"),
        ),
    )
    for what, kind, path in places:
        found = [v for v in values(subject, kind, *path) if str(v.value) not in known]
        yield from same("X-01", what, found, expected, "http.port")
    for value in values(subject, "NetworkPolicy", "spec", "ingress", "*"):
        if "ports" not in mapping(value):
            yield Finding(
                "X-01",
                value.file,
                value.line,
                "this rule lets requests in to every port",
                f"Name the port {expected}, or its name.",
                "http.port",
            )


def _image_ports(subject: Subject) -> Iterator[Value]:
    """The ports that image and Makefile give the app; more ports than one may be exposed."""
    exposed = [
        Value(word.removesuffix("/tcp"), "Dockerfile", one.line)
        for one in image(subject, "EXPOSE")
        for word in one.text.split()
    ]
    if str(subject.context["http"]["port"]) not in {value.value for value in exposed}:
        yield from exposed
    for one in image(subject, "ENV"):
        if "PORT" in pairs(one.text):
            yield Value(pairs(one.text)["PORT"], "Dockerfile", one.line)
    if port := run_variables(subject.files).get("PORT"):
        yield port


def health_paths(subject: Subject) -> Iterator[Finding]:
    """X-02: Probes and balancer ask for paths that the app serves, in the way that it serves them."""
    for environment in made(subject):
        yield from _probes(subject, environment)
        yield from _balancer(subject, environment)
    yield from _served(subject)


def _probes(subject: Subject, environment: Context) -> Iterator[Finding]:
    health, app = subject.context["health"], container(subject)
    for probe, which in _PROBES.items():
        found = layered(subject, environment, "Deployment", *app, probe)
        asks = layered(subject, environment, "Deployment", *app, probe, "httpGet", "path")
        scheme = layered(subject, environment, "Deployment", *app, probe, "httpGet", "scheme")
        where = place(subject, environment, "Deployment", *app, probe)
        if asks is not None:
            path = f"the path of {probe}"
            yield from same("X-02", path, [asks], health[which], f"health.{which}")
        elif where is not None:
            yield Finding(
                "X-02",
                where.file,
                where.line,
                f"{probe} does not ask the app" if found else f"there is no {probe}",
                f"Let its httpGet ask for {health[which]}.",
                f"health.{which}",
            )
        if scheme is not None and scheme.value != "HTTP":
            yield _not_plain(scheme, f"{probe} asks by {scheme.value}")


def _balancer(subject: Subject, environment: Context) -> Iterator[Finding]:
    ready = subject.context["health"]["ready"]
    where = layered(subject, environment, "Ingress", *NOTE)
    if where is None:
        return
    asked = layered(subject, environment, "Ingress", *NOTE, ALB + "healthcheck-path")
    # Without the annotation the balancer asks for /.
    found = [asked or where._replace(value="/")]
    yield from same("X-02", "the path of the balancer's health check", found, ready, "health.ready")
    for name in ("backend-protocol", "healthcheck-protocol"):
        spoken = layered(subject, environment, "Ingress", *NOTE, ALB + name)
        if spoken is not None and spoken.value != "HTTP":
            yield _not_plain(spoken, f"{name} is {spoken.value}")


def _not_plain(value: Value, what: str) -> Finding:
    return Finding(
        "X-02",
        value.file,
        value.line,
        f"{what}, but the app answers plain HTTP",
        "Write HTTP: TLS ends at the balancer.",
    )


def _served(subject: Subject) -> Iterator[Finding]:
    """Whether the app and its image know the health paths."""
    health = subject.context["health"]
    for file, text in app_routes(subject):
        for which in ("live", "ready"):
            if f'"GET {health[which]}"' not in text:
                yield Finding(
                    "X-02",
                    file,
                    0,
                    f"the app does not answer GET {health[which]}",
                    f"Answer it, or change health.{which} in app.yaml.",
                    f"health.{which}",
                )
    for one in image(subject, "HEALTHCHECK"):
        if one.text != "NONE" and not re.search(
            re.escape(health["live"]) + r"(?![A-Za-z0-9._~/-])", one.text
        ):
            yield Finding(
                "X-02",
                "Dockerfile",
                one.line,
                f"HEALTHCHECK does not ask for {health['live']}",
                "Ask for the live path, or change health.live in app.yaml.",
                "health.live",
            )


def shutdown(subject: Subject) -> Iterator[Finding]:
    """X-05: The grace period holds preStop and drain; X-07: the balancer drains no longer than the app."""
    drain = subject.context["times"]["drain_s"]
    for value in app_constant(subject, "DRAIN_MS"):
        if value.value > drain * 1000:
            yield Finding(
                "X-05",
                value.file,
                value.line,
                f"the app drains for {value.value} ms, the spec gives it {drain} s",
                f"Write {drain * 1000}, or raise health.drain in app.yaml for all artifacts.",
                "health.drain",
            )
    for environment in made(subject):
        yield from _grace(subject, environment, drain)
        yield from _deregistration(subject, environment, drain)


def _grace(subject: Subject, environment: Context, drain: int) -> Iterator[Finding]:
    hook = (*container(subject), "lifecycle", "preStop")
    where = place(subject, environment, "Deployment", *hook, "sleep", "seconds")
    if where is None:
        return
    if {"exec", "httpGet"} & set(mapping(layered(subject, environment, "Deployment", *hook))):
        return  # Somebody's own way to wait: how long it takes is not written anywhere.
    sleep = number(
        mapping(layered(subject, environment, "Deployment", *hook, "sleep")).get("seconds")
    )
    needed = subject.context["times"]["pre_stop_s"]
    if sleep < needed:
        yield Finding(
            "X-05",
            where.file,
            where.line,
            f"preStop waits for {sleep} s; endpoints and targets need {needed} s to take the pod out",
            f"Let preStop sleep for {needed} seconds: until then requests still come.",
        )
    path = (*POD, "terminationGracePeriodSeconds")
    # What Kubernetes takes where nothing is written: 30.
    grace = layered(subject, environment, "Deployment", *path) or where._replace(value=30)
    if sleep + drain >= number(grace.value):
        yield Finding(
            "X-05",
            grace.file,
            grace.line,
            f"the pod is killed after {grace.value} s, but preStop ({sleep} s) and the app's drain "
            f"({drain} s) need longer",
            f"Raise terminationGracePeriodSeconds above {sleep + drain}.",
            "health.drain",
        )


def _deregistration(subject: Subject, environment: Context, drain: int) -> Iterator[Finding]:
    where = place(subject, environment, "Ingress", *NOTE, ALB + "target-group-attributes")
    if where is None:
        return
    written = re.search(r"deregistration_delay\.timeout_seconds=([0-9]+)", str(where.value))
    # Without the attribute a target group takes 300 s.
    delay = int(written[1]) if written else 300
    if delay > drain:
        yield Finding(
            "X-07",
            where.file,
            where.line,
            f"the balancer drains for {delay} s, the app for {drain} s",
            f"Set deregistration_delay.timeout_seconds to {drain}.",
            "health.drain",
        )


def idle(subject: Subject) -> Iterator[Finding]:
    """X-06: The balancer closes an idle connection before the app does."""
    keep = keep_alive_s(subject)
    for value in values(subject, "Ingress", *NOTE, ALB + "load-balancer-attributes"):
        idle_s = re.search(r"idle_timeout\.timeout_seconds=([0-9]+)", str(value.value))
        if idle_s and int(idle_s[1]) >= keep:
            yield Finding(
                "X-06",
                value.file,
                value.line,
                f"the balancer keeps idle connections for {idle_s[1]} s, the app for {keep} s",
                f"Lower idle_timeout.timeout_seconds below {keep}: else the app closes a connection "
                "just as a request comes.",
            )


def startup(subject: Subject) -> Iterator[Finding]:
    """X-08: The startup probe waits for the declared start."""
    start = subject.context["times"]["start_s"]
    for environment in made(subject):
        path = (*container(subject), "startupProbe")
        probe = layered(subject, environment, "Deployment", *path)
        times = {key: layered(subject, environment, "Deployment", *path, key) for key in _TIMES}
        if probe is None:
            continue  # X-02 says that there is none.
        delay, period, failures = (
            number(value.value) if value else _TIMES[key] for key, value in times.items()
        )
        if delay + period * failures < start:
            yield Finding(
                "X-08",
                probe.file,
                probe.line,
                f"the app gets {delay + period * failures} s to start, the spec says that it may "
                f"need {start} s",
                "Raise failureThreshold of the startupProbe.",
                "health.start",
            )


# With what Kubernetes takes where nothing is written.
_TIMES = {"initialDelaySeconds": 0, "periodSeconds": 10, "failureThreshold": 3}

CHECKS: tuple[Check, ...] = (
    Check("X-01", "one port everywhere", port),
    Check("X-02", "the health paths are those that the app serves", health_paths),
    Check("X-05", "who shuts down has time for it, balancer and app alike (X-07)", shutdown),
    Check("X-06", "the app keeps connections longer than the balancer", idle),
    Check("X-08", "health checks wait for the declared start", startup),
)
