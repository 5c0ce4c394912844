"""The seams of virtual machines: what their stacks say, and what the spec and the image do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.artifacts import Value
from generator.check.hcl import Stack, read
from generator.check.stacks import Kind, Seam, holds, least, most
from generator.render.context import Context


def _seams(context: Context, environment: Context) -> Iterator[Seam]:
    vm, scale = environment["vm"], environment["scale"]
    times, port = context["times"], context["http"]["port"]
    for block in ("module alb", "module asg"):
        yield Seam("X-10", block, "name", vm["name"], "name")
        yield Seam("X-01", block, "port", port, "http.port")
        yield Seam("X-08", block, "start_s", vm["start_s"], "health.start", least, "at least ")
    alb, asg = "module alb", "module asg"
    yield Seam("X-02", alb, "health_path", context["health"]["ready"], "health.ready")
    yield Seam("X-02", alb, "hidden_paths", context["hidden_paths"], "health", holds, "all of ")
    idle = times["keep_alive_ms"] // 1000 - 1
    yield Seam("X-06", alb, "idle_timeout_s", idle, "http.request_timeout", most, "at most ")
    yield Seam("X-07", alb, "drain_s", times["drain_s"], "health.drain", most, "at most ")
    yield Seam("X-07", asg, "drain_s", times["drain_s"], "health.drain", least, "at least ")
    yield Seam("X-11", asg, "min_size", scale["min"], "scale.min")
    yield Seam("X-11", asg, "max_size", scale["max"], "scale.max")
    yield Seam("X-11", asg, "cpu_percent", scale["cpu"], "scale.cpu")
    yield Seam("X-12", asg, "instance_type", vm["instance_type"], "vm.instance_type")
    yield Seam("balancer", alb, "internal", not environment["public"], "traffic.public")
    yield Seam("balancer", alb, "host", vm["host"], "traffic.hosts.vm")
    yield Seam("balancer", alb, "zone", vm["zone"], "traffic.zone")
    yield Seam("balancer", alb, "certificate_arn", vm["certificate_arn"], "traffic")
    rate = vm["rate_limit_per_5min"]
    yield Seam("balancer", alb, "rate_limit_per_5min", rate, "traffic.rate_limit")


STACKS = Kind("vm", "asg", _seams)


def variables(subject: Subject) -> Iterator[Finding]:
    """X-13: Instances get the variables of the spec, and the secrets by reference only."""
    port, app = subject.context["http"]["port"], subject.context["name"]
    for environment, _ in STACKS.each(subject):
        path = f"{STACKS.place(environment)}config.env"
        wanted = {one["name"]: str(one["value"]) for one in environment["config"]}
        place = f"/run/credentials/{app}@{port}.service/secrets_"
        wanted |= {f"{one['name']}_FILE": f"{place}{one['name']}" for one in environment["secrets"]}
        yield from _differences(path, _assigned(subject, path), wanted)
        path = f"{STACKS.place(environment)}secrets"
        stored = {
            one["name"]: f"{one['store']} {environment['region']} {one['reference']}"
            for one in environment["secrets"]
        }
        yield from _differences(path, _referred(subject, path), stored)


def _differences(path: str, found: dict[str, Value], wanted: dict[str, str]) -> Iterator[Finding]:
    for name, expected in wanted.items():
        if name not in found:
            yield Finding("X-13", path, 0, f"{name} is missing", "Add it, or update.", "config")
        elif found[name].value != expected:
            line = found[name].line
            yield Finding(
                "X-13", path, line, f"{name} is not what the spec says", "Update it.", "config"
            )
    for name, value in found.items():
        if name not in wanted:
            fix = "Add it to the spec, so that every approach has it, or take it out."
            yield Finding("X-13", path, value.line, f"{name} is not in the spec", fix, "config")


_LINE = re.compile(r'^([A-Za-z_]\w*)=("(?:[^"\\]|\\.)*"|[^\n]*)', re.MULTILINE)


def _assigned(subject: Subject, path: str) -> dict[str, Value]:
    """The variables of a file as systemd reads them."""
    text = _text(subject, path)
    found = {}
    for match in _LINE.finditer(text):
        name, value = match.groups()
        if value.startswith('"'):
            value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
        found[name] = Value(value, path, text.count("\n", 0, match.start()) + 1)
    return found


def _referred(subject: Subject, path: str) -> dict[str, Value]:
    found = {}
    for number, line in enumerate(_text(subject, path).splitlines(), 1):
        name, _, rest = line.partition(" ")
        if name and not name.startswith("#"):
            found[name] = Value(rest, path, number)
    return found


def _text(subject: Subject, path: str) -> str:
    there = subject.files.find(path)
    return there.content.decode(errors="replace") if there else ""


def outputs(subject: Subject) -> Iterator[Finding]:
    """X-18: What the release script asks of a stack, the stack has."""
    for environment, _ in STACKS.each(subject):
        colors = environment["rollout"]["strategy"] == "blue_green"
        path = f"{STACKS.place(environment)}outputs.tf"
        stack = read(subject.files, path)
        has = set(stack.blocks) if isinstance(stack, Stack) else set()
        for script in ("packer/release.sh", f"packer/{'colors' if colors else 'rolling'}.sh"):
            for name in sorted(set(re.findall(r"\$\(output (\w+)\)", _text(subject, script)))):
                if f"output {name}" not in has:
                    fix = f"Add the output {name}; or update."
                    yield Finding("X-18", path, 0, f"{script} asks for the output {name}", fix)


CHECKS = (
    Check("syntax", "every stack of virtual machines can be read", STACKS.syntax),
    Check("X-01", "one port on virtual machines and their balancer", STACKS.of("X-01")),
    Check("X-02", "the load balancer asks for, and hides, the paths of the app", STACKS.of("X-02")),
    Check("X-06", "the app keeps connections longer than the load balancer", STACKS.of("X-06")),
    Check("X-07", "an instance that leaves has time for its requests", STACKS.of("X-07")),
    Check("X-08", "groups wait for the declared start", STACKS.of("X-08")),
    Check("X-10", "stacks are of their environment, account and region", STACKS.of("X-10")),
    Check("X-11", "groups scale as the spec says", STACKS.of("X-11")),
    Check("X-12", "instances are of the kind that the spec says", STACKS.of("X-12")),
    Check("X-13", "the same variables on virtual machines", variables),
    Check("X-14", "the same tags on every stack", STACKS.of("X-14")),
    Check("X-18", "what the release script asks of a stack is there", outputs),
    Check(
        "balancer",
        "the load balancer serves whom the spec says, under its name",
        STACKS.of("balancer"),
    ),
)
