"""The seams of traffic: ports, health paths, time budgets, numbers of copies.

Only one spec can promise these. Each check collects what the files say, wherever they say it, and
compares it with what the spec says; a file edited by hand is read like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Step, Value, pairs
from generator.check.reading import (
    ALB,
    CONTAINER,
    POD,
    app_constant,
    app_routes,
    image,
    kinds,
    same,
    values,
)

_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def port(subject: Subject) -> Iterator[Finding]:
    """X-01: Image, pod, Service, policy and balancer use one port."""
    expected = subject.context["http"]["port"]
    ports = [Value(one.text, "Dockerfile", one.line) for one in image(subject, "EXPOSE")]
    ports += [
        Value(pairs(one.text)["PORT"], "Dockerfile", one.line)
        for one in image(subject, "ENV")
        if "PORT" in pairs(one.text)
    ]
    yield from same("X-01", "the port of the image", ports, expected, "http.port")
    places: tuple[tuple[str, str, tuple[Step, ...]], ...] = (
        ("containerPort", "Deployment", (*CONTAINER, "ports", "*", "containerPort")),
        ("targetPort", "Service", ("spec", "ports", "*", "targetPort")),
        (
            "the health check's port",
            "Ingress",
            ("metadata", "annotations", ALB + "healthcheck-port"),
        ),
        *(
            (f"the port of {probe}", "Deployment", (*CONTAINER, probe, "httpGet", "port"))
            for probe in _PROBES
        ),
    )
    named = {
        value.value for value in values(subject, "Deployment", *CONTAINER, "ports", "*", "name")
    }
    for what, kind, path in places:
        found = [v for v in values(subject, kind, *path) if v.value not in {*named, "traffic-port"}]
        yield from same("X-01", what, found, expected, "http.port")
    variables = [
        value
        for value in values(subject, "Deployment", *CONTAINER, "env", "*")
        if value.value.get("name") == "PORT"
    ]
    yield from same(
        "X-01",
        "PORT",
        (v._replace(value=v.value.get("value")) for v in variables),
        expected,
        "http.port",
    )
    allowed = [
        value
        for policy in kinds(subject, "NetworkPolicy")
        for value in policy.find("spec", "ingress", "*", "ports", "*", "port")
        if value.value not in named
    ]
    yield from same("X-01", "the port that may be reached", allowed, expected, "http.port")


def health_paths(subject: Subject) -> Iterator[Finding]:
    """X-02: Probes and balancer ask for paths that the app serves."""
    health = subject.context["health"]
    places: tuple[tuple[str, str, str, tuple[Step, ...]], ...] = (
        ("startupProbe", "live", "Deployment", (*CONTAINER, "startupProbe", "httpGet", "path")),
        ("livenessProbe", "live", "Deployment", (*CONTAINER, "livenessProbe", "httpGet", "path")),
        (
            "readinessProbe",
            "ready",
            "Deployment",
            (*CONTAINER, "readinessProbe", "httpGet", "path"),
        ),
        (
            "the balancer's health check",
            "ready",
            "Ingress",
            ("metadata", "annotations", ALB + "healthcheck-path"),
        ),
    )
    for what, which, kind, path in places:
        found = values(subject, kind, *path)
        yield from same("X-02", f"the path of {what}", found, health[which], f"health.{which}")
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
    for manifest in kinds(subject, "Deployment"):
        grace = next(manifest.find(*POD, "terminationGracePeriodSeconds"), None)
        sleep = manifest.get(*CONTAINER, "lifecycle", "preStop", "sleep", "seconds") or 0
        if grace is not None and sleep + drain >= grace.value:
            yield Finding(
                "X-05",
                grace.file,
                grace.line,
                f"the pod is killed after {grace.value} s, but preStop ({sleep} s) and the app's drain "
                f"({drain} s) need longer",
                f"Raise terminationGracePeriodSeconds above {sleep + drain}.",
                "health.drain",
            )
    for value in values(
        subject, "Ingress", "metadata", "annotations", ALB + "target-group-attributes"
    ):
        delay = re.search(r"deregistration_delay\.timeout_seconds=([0-9]+)", str(value.value))
        if delay and int(delay[1]) > drain:
            yield Finding(
                "X-07",
                value.file,
                value.line,
                f"the balancer drains for {delay[1]} s, the app for {drain} s",
                f"Lower deregistration_delay.timeout_seconds to {drain}.",
                "health.drain",
            )


def idle(subject: Subject) -> Iterator[Finding]:
    """X-06: The balancer closes an idle connection before the app does."""
    wanted = subject.context["times"]["keep_alive_ms"]
    keep = (
        min([value.value for value in app_constant(subject, "KEEP_ALIVE_MS")] or [wanted]) // 1000
    )
    for value in values(
        subject, "Ingress", "metadata", "annotations", ALB + "load-balancer-attributes"
    ):
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
    for manifest in kinds(subject, "Deployment"):
        probe = next(manifest.find(*CONTAINER, "startupProbe"), None)
        if probe is None:
            continue
        allowed = probe.value.get("initialDelaySeconds", 0) + probe.value.get(
            "periodSeconds", 10
        ) * probe.value.get("failureThreshold", 3)
        if allowed < start:
            yield Finding(
                "X-08",
                probe.file,
                probe.line,
                f"the app gets {allowed} s to start, the spec says that it may need {start} s",
                "Raise failureThreshold of the startupProbe.",
                "health.start",
            )


def replicas(subject: Subject) -> Iterator[Finding]:
    """X-11: The autoscaler has the bounds of the spec, owns the number, and one pod may be evicted."""
    for environment in subject.context["environments"]:
        folder = f"k8s/overlays/{environment['name']}/"
        for key, field in (("minReplicas", "min"), ("maxReplicas", "max")):
            found = (
                value
                for value in values(subject, "HorizontalPodAutoscaler", "spec", key)
                if value.file.startswith(folder)
            )
            yield from same("X-11", key, found, environment["scale"][field], f"scale.{field}")
    for value in values(subject, "Deployment", "spec", "replicas"):
        yield Finding(
            "X-11",
            value.file,
            value.line,
            "replicas is set here, and the HorizontalPodAutoscaler sets it too",
            "Remove replicas: every apply would undo the scaling.",
            "scale",
        )
    lowest = min(environment["scale"]["min"] for environment in subject.context["environments"])
    for value in values(subject, "PodDisruptionBudget", "spec"):
        least, most = value.value.get("minAvailable"), value.value.get("maxUnavailable")
        if (
            most in (0, "0", "0%")
            or least == "100%"
            or (isinstance(least, int) and least >= lowest)
        ):
            yield Finding(
                "X-11",
                value.file,
                value.line,
                "this budget allows no eviction, so no node could ever be drained",
                "Write maxUnavailable: 1.",
                "scale.min",
            )


CHECKS: tuple[Check, ...] = (
    Check("X-01", "one port everywhere", port),
    Check("X-02", "the health paths are those that the app serves", health_paths),
    Check("X-05", "who shuts down has time for it, balancer and app alike (X-07)", shutdown),
    Check("X-06", "the app keeps connections longer than the balancer", idle),
    Check("X-08", "health checks wait for the declared start", startup),
    Check("X-11", "one floor of copies, and room to evict one", replicas),
)
