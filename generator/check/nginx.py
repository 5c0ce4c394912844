"""The seams of nginx: its variables and its template, against what the app and the spec say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.ansible import FOLDER, made, nginx_variables, whole
from generator.check.artifacts import Value
from generator.check.reading import keep_alive_s
from generator.check.servers import Wanted, agree, defaults, group_vars, written

TEMPLATE = f"{FOLDER}roles/nginx/templates/nginx.conf.j2"


def _numbers(subject: Subject, variable: str, directive: str) -> Iterator[tuple[int, Value]]:
    """What a variable of the role says, and what somebody wrote into the template in its place."""
    found: list[Value] = []
    for environment in made(subject):
        there = nginx_variables(subject, environment).get(variable)
        found += [there] if there else []
    found += written(subject, TEMPLATE, rf"{directive} ([0-9]+)s?;")
    for value in found:
        number = whole(value.value)
        if number is not None:
            yield number, value


def drained(subject: Subject) -> Iterator[Finding]:
    """X-07: Requests in flight have the time of the longest one, and no more than the app gives them."""
    times = subject.context["times"]
    request, drain = times["request_timeout_s"], times["drain_s"]
    for number, value in _numbers(subject, "nginx_drain_s", "worker_shutdown_timeout"):
        if not request <= number <= drain:
            yield Finding(
                "X-07",
                value.file,
                value.line,
                f"nginx gives requests in flight {number} s; the longest takes {request} s, and the "
                f"app drains for {drain} s",
                f"Write a number from {request} to {drain}.",
                "health.drain",
            )


def idle(subject: Subject) -> Iterator[Finding]:
    """X-06: Of the two, nginx closes an idle connection to the app first."""
    keep = keep_alive_s(subject)
    upstream = _upstream(subject)
    # Outside the upstream the same word is about clients.
    for number, value in _numbers(subject, "nginx_keepalive_idle_s", "keepalive_timeout"):
        if number >= keep and (value.file != TEMPLATE or value.line in upstream):
            yield Finding(
                "X-06",
                value.file,
                value.line,
                f"nginx keeps idle connections for {number} s, the app for {keep} s",
                f"Write less than {keep}: else the app closes a connection just as a request comes.",
            )


def _upstream(subject: Subject) -> range:
    """The lines of the template's upstream."""
    first = next((one.line for one in written(subject, TEMPLATE, r"(upstream \w+ \{)")), 0)
    ends = (one.line for one in written(subject, TEMPLATE, r"(\})") if one.line > first)
    return range(first, next(ends, first))


def balancer(subject: Subject) -> Iterator[Finding]:
    """The name, the limit, the way to spread and the patience of nginx are those of the spec."""
    request = subject.context["times"]["request_timeout_s"]
    for environment in made(subject):
        found, server = nginx_variables(subject, environment), environment["server"]
        limit = server["rate_limit"] or {"rate": ""}
        own, shared = group_vars(environment, "nginx_instances"), defaults("nginx")
        for name, expected, field, home in (
            ("nginx_host", server["host"] or "", "traffic.hosts.server", own),
            ("nginx_rate", limit["rate"], "traffic.rate_limit", own),
            ("nginx_balance", server["balance"], "traffic.balance", own),
            ("nginx_request_timeout_s", request, "http.request_timeout", shared),
        ):
            yield from agree(subject, "balancer", found, Wanted(name, expected, field), home)
    for value in written(subject, TEMPLATE, r"proxy_read_timeout ([0-9]+)s?;"):
        if int(value.value) < request:
            yield Finding(
                "balancer",
                value.file,
                value.line,
                f"nginx gives up after {value.value} s, a request may take {request} s",
                f"Write more than {request}.",
                "http.request_timeout",
            )


def hidden(subject: Subject) -> Iterator[Finding]:
    """X-02: What the app tells the platform, nginx does not tell the public."""
    health = subject.context["health"]
    paths = {
        "nginx_live_path": health["live"],
        "nginx_ready_path": health["ready"],
        "'/version'": "/version",
    }
    for file in subject.files:
        if file != TEMPLATE or not made(subject):
            continue
        text = subject.files[file].content.decode(errors="replace")
        # As gen writes it: a list of paths, each with and without a slash at its end.
        lists = re.findall(r"\{% for path in \[(.*?)\] %\}\s*\{% for slash in", text)
        for name, path in paths.items():
            if not any(name in one for one in lists) and f"location = {path} {{" not in text:
                yield Finding(
                    "X-02",
                    file,
                    0,
                    f"{path} is open to the public",
                    f"Answer it with 404 in the public server: location = {path} {{ ... }}.",
                    "health",
                )


CHECKS: tuple[Check, ...] = (
    Check("X-02", "nginx hides what only the platform asks for", hidden),
    Check("X-06", "the app keeps connections longer than nginx", idle),
    Check("X-07", "nginx gives requests in flight their time", drained),
    Check("balancer", "nginx serves, limits and spreads as the spec says", balancer),
)
