"""The seams of a fleet: which servers there are, of which kind, where, and whose."""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.check.ansible import (
    FOLDER,
    Template,
    Variables,
    app_group,
    app_variables,
    cloud,
    document,
    key_lines,
    made,
    shown,
    variables,
)
from generator.check.artifacts import Value
from generator.check.servers import Wanted, agree, differs, group_vars, written
from generator.render.context import Context
from generator.spec.rules import architecture


def runtime(subject: Subject) -> Iterator[Finding]:
    """X-03: Servers have the runtime of the spec, start the app with it, and get libraries for it."""
    line, language = subject.context["runtime"]["version"], subject.context["runtime"]["language"]
    tool = subject.context["server"]["runtime_role"]
    for environment in made(subject):
        group = app_group(subject)
        version = variables(subject, environment, tool, group).get(f"{tool}_version")
        if version is None or isinstance(version.value, Template):
            continue
        if not _of_line(str(version.value), line):
            yield differs("X-03", version, f"{tool}_version", line, "runtime.version")
        elif language == "nodejs":
            yield from _nodejs_path(subject, app_variables(subject, environment), version)
    places = [*written(subject, "package.sh", r".*--python-version ([0-9.]+).*")]
    unpack = f"{FOLDER}roles/{subject.context['role']}/tasks/unpack.yml"
    places += written(subject, unpack, r"loop: \[python([0-9.]+)\]")
    for value in places:
        if value.value != line:
            yield differs("X-03", value, "the version of Python", line, "runtime.version")


def _one(subject: Subject, path: str, *keys: str) -> Iterator[Value]:
    there = document(subject.files, path)
    return there.find(*keys) if there else iter(())


def _of_line(version: str, line: str) -> bool:
    return version == line or version.startswith(f"{line}.")


def _nodejs_path(subject: Subject, found: Variables, version: Value) -> Iterator[Finding]:
    """Whether the app starts with the Node.js that the role installs, and with none beside it."""
    name = f"{subject.context['role']}_path"
    value = found.get(name)
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", str(version.value)):
        yield Finding(
            "X-03",
            version.file,
            version.line,
            f"{version.value} is no exact release of Node.js, which is what is downloaded",
            "Write a release such as 24.21.0.",
            "runtime.version",
        )
        return
    if value is None or not isinstance(value.value, list):
        return
    wanted = f"/opt/nodejs/{version.value}/bin"
    # What is evaluated elsewhere may be anything.
    known = not any(isinstance(item, Template) for item in value.value)
    if known and wanted not in value.value:
        yield Finding(
            "X-03",
            value.file,
            value.line,
            f"{name} does not name {wanted}, where the Node.js of the servers is",
            f"Write {wanted} as its first entry.",
            "runtime.version",
        )


def names(subject: Subject) -> Iterator[Finding]:
    """X-10: The servers of an environment are made, and found, in its account, region and network."""
    for environment in made(subject):
        asks = cloud(subject, environment)
        if asks is None:
            continue
        found, home = app_variables(subject, environment), group_vars(environment, "all")
        server = environment["server"]
        for name, expected, field in (
            ("ec2_prefix", server["prefix"], "name"),
            ("ec2_environment", environment["name"], "environments"),
            ("ec2_region", environment["region"], "region"),
            ("ec2_account", environment["account"], "account"),
        ):
            yield from agree(subject, "X-10", found, Wanted(name, expected, field), home)
        regions = list(_one(subject, asks, "regions", "*"))
        known = [value for value in regions if not isinstance(value.value, Template)]
        if known == regions and environment["region"] not in [value.value for value in regions]:
            where = known[0] if known else Value("none", asks, 0)
            yield differs("X-10", where, "the region", environment["region"], "region")


def network(subject: Subject) -> Iterator[Finding]:
    """Servers stand in the network of the spec, and the balancers are open to whom it says."""
    for environment in made(subject):
        if cloud(subject, environment) is None:
            continue
        found, home = app_variables(subject, environment), group_vars(environment, "all")
        server = environment["server"]
        public = Wanted("ec2_public", environment["public"], "traffic.public")
        yield from agree(subject, "balancer", found, public, home)
        yield from _network(subject, found, environment["network"])
        ports = found.get("ec2_balancer_ports")
        if ports and isinstance(ports.value, list):
            for port in (80, 443) if server["host"] else (80,):
                if str(port) not in map(str, ports.value):
                    yield Finding(
                        "balancer",
                        ports.file,
                        ports.line,
                        f"nobody reaches port {port} of the balancers, where nginx listens",
                        f"Add {port}.",
                        "traffic.hosts.server",
                    )


def _network(subject: Subject, found: Variables, wanted: Context | None) -> Iterator[Finding]:
    here = found.get("ec2_network")
    if here is None or isinstance(here.value, Template):
        return
    body = here.value if isinstance(here.value, dict) else {}
    for key, expected in (wanted or {"vpc_id": None}).items():
        value = body.get(key)
        if not isinstance(value, Template) and shown(value) != shown(expected):
            lines = key_lines(subject, here.file, "ec2_network")
            what = Value(shown(value), here.file, lines.get(key, here.line))
            yield differs("network", what, f"ec2_network.{key}", expected, f"network.{key}")


def number(subject: Subject) -> Iterator[Finding]:
    """X-11: There are as many app servers as the spec's floor."""
    for environment in made(subject):
        if cloud(subject, environment):
            found, home = app_variables(subject, environment), group_vars(environment, "all")
            wanted = Wanted("ec2_app_servers", environment["server"]["count"], "scale.min")
            yield from agree(subject, "X-11", found, wanted, home)


def processor(subject: Subject) -> Iterator[Finding]:
    """X-12: Servers, their image, the release and its libraries are for one processor."""
    role = subject.context["role"]
    for environment in made(subject):
        found, server = app_variables(subject, environment), environment["server"]
        kind = Wanted(f"{role}_architecture", server["architecture"], "server.instance_type")
        yield from agree(subject, "X-12", found, kind, group_vars(environment, app_group(subject)))
        if cloud(subject, environment):
            app = Wanted("ec2_app_instance_type", server["instance_type"], "server.instance_type")
            yield from agree(subject, "X-12", found, app, group_vars(environment, "all"))
            yield from _image(found, server)
    wheel = subject.context["server"]["wheel_cpu"]
    npm = subject.context["server"]["npm_cpu"]
    for pattern, expected in (
        (r".*\bnpm_config_cpu=(\w+).*", npm),
        (r".*--platform manylinux_[0-9_]+?_((?:x86|aarch|arm)\w+) .*", wheel),
    ):
        for value in written(subject, "package.sh", pattern):
            if value.value != expected:
                what = "the processor that libraries are for"
                yield differs("X-12", value, what, expected, "server.instance_type")


_PROCESSORS = {"x86_64": ("x86_64", "amd64"), "arm64": ("arm64", "aarch64")}
_SYSTEMS = {"amazon_linux": "amazon-linux", "debian": "/debian/"}


def _image(found: Variables, server: Context) -> Iterator[Finding]:
    """Whether the balancers, and the image that all start from, are of the kind of the app servers."""
    wanted = server["ec2_architecture"]
    balancer, image = found.get("ec2_balancer_instance_type"), found.get("ec2_ami_parameter")
    if balancer and not isinstance(balancer.value, Template):
        here = architecture(str(balancer.value))
        if here != wanted:
            yield Finding(
                "X-12",
                balancer.file,
                balancer.line,
                f"{balancer.value} is {here}, and balancers start from the image of the app servers, "
                f"which is {wanted}",
                f"Choose a type of {wanted}.",
                "server.instance_type",
            )
    if image is None or isinstance(image.value, Template):
        return
    others = [word for kind, words in _PROCESSORS.items() if kind != wanted for word in words]
    others += [word for system, word in _SYSTEMS.items() if system != server["os"]]
    # Of an image that somebody made, the name says what they like.
    if any(word in str(image.value) for word in others):
        yield differs(
            "X-12", image, "the image", server["ami_parameter"], "server.os or server.instance_type"
        )


def tags(subject: Subject) -> Iterator[Finding]:
    """X-14: Everything of an environment has the same tags, and is found by them."""
    for environment in made(subject):
        asks = cloud(subject, environment)
        if asks is None:
            continue
        whose = {"app": subject.context["name"], "env": environment["name"], "approach": "server"}
        all_of_them = {**whose, "owner": environment["owner_label"], "managed-by": "gen"}
        found = app_variables(subject, environment)
        for name, wanted in (("ec2_tags", all_of_them), ("ec2_tag_filters", whose)):
            if name in found:
                yield from _marked(subject, name, found[name], wanted)
        for value in _one(subject, asks, "filters"):
            yield from _marked(subject, "filters", value, whose)


def _marked(
    subject: Subject, variable: str, value: Value, wanted: dict[str, str]
) -> Iterator[Finding]:
    if isinstance(value.value, Template):
        return
    body = value.value if isinstance(value.value, dict) else {}
    lines = key_lines(subject, value.file, variable)
    for tag, expected in wanted.items():
        name = tag if variable == "ec2_tags" else f"tag:{tag}"
        found = body.get(name)
        found = found[0] if isinstance(found, list) and len(found) == 1 else found
        if isinstance(found, Template):
            continue
        key = {"app": "name", "env": "environments", "owner": "owner"}.get(tag, "")
        if found is None:
            yield Finding(
                "X-14",
                value.file,
                value.line,
                f"{variable} has no {name}",
                f"Add {name}: {expected}; what is this environment's is known by it.",
                key,
            )
        elif str(found) != expected:
            yield Finding(
                "X-14",
                value.file,
                lines.get(name, value.line),
                f"{name} is {found}, elsewhere {expected}",
                f"Write {expected}; what is this environment's is known by it.",
                key,
            )


CHECKS: tuple[Check, ...] = (
    Check("X-03", "one runtime version on servers", runtime),
    Check("X-10", "servers are made and found in their account and region", names),
    Check("network", "servers stand in the network of the spec", network),
    Check("X-11", "as many servers as the spec says", number),
    Check("X-12", "one processor for servers, image and libraries", processor),
    Check("X-14", "the same tags on everything in EC2, and found by them", tags),
)
