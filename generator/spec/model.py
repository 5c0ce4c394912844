"""The spec: every key of `app.yaml`, its default and its documentation.

One source: the documentation here becomes the JSON Schema (`gen schema`), the reference page and the
comments in a new `app.yaml`. Values are in base units: durations in milliseconds, sizes in bytes,
CPU in millicores, percentages as whole numbers. Rules between keys are in `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from generator.spec import types as t
from generator.spec import units as u
from generator.spec import words as w
from generator.spec.types import Keyed, Kind, Listed

TARGETS = ("server", "vm", "container", "serverless")
LANGUAGES = ("nodejs", "python")
REQUIRED: Any = object()


def key(kind: Kind, default: Any, doc: str, *, at_build: bool = False) -> Any:
    """A key of a section: what it may hold, its default (REQUIRED: none), its documentation."""
    metadata = {"kind": kind, "doc": doc, "at_build": at_build, "required": default is REQUIRED}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=None if default is REQUIRED else default, metadata=metadata)


def build(kind: Kind, default: Any, doc: str) -> Any:
    """A key that is fixed when image, AMI or zip is built, so no environment may override it."""
    return key(kind, default, doc, at_build=True)


def section(kind: type, doc: str) -> Any:
    """A section whose keys all have defaults."""
    return key(kind, kind(), doc)


def _reserved(value: object) -> object:
    if value:
        raise t.Wrong(
            "reserved", "this section is reserved: it comes later", "Leave it empty or out."
        )
    return ()


ACCOUNT = t.form(
    "bad-account", "[0-9]{12}", 'an AWS account id: 12 digits, in quotes: "012345678901"'
)
REGION = t.form("bad-region", "[a-z]{2}(-[a-z]+)+-[0-9]", "an AWS region, such as us-east-2")
INSTANCE_TYPE = t.form(
    "bad-instance-type", r"[a-z][a-z0-9-]*\.[a-z0-9-]+", "an EC2 instance type, such as t3.small"
)
HOST_NAME = t.form(
    "bad-host-name",
    r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])",
    "a host name in lower case, such as app.example.com",
    str.lower,
)
CIDR = t.text(w.ipv4_range, pattern=r"^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$")
TARGET = t.choice(*TARGETS)
ARCHITECTURE = t.choice("x86_64", "arm64")
SUBNET = t.form("bad-subnet", "subnet-[0-9a-f]{8,17}", "a subnet id: subnet-0123456789abcdef0")
HTTP_PATH = t.text(w.http_path, pattern="^/[A-Za-z0-9._~/-]*$")
VARIABLE = t.text(w.variable_name, pattern="^[A-Za-z_][A-Za-z0-9_]*$")
ROUTE = t.text(w.route, examples=["GET /photos/{id}", "$default"])
CONFIG_VALUE = t.text(w.config_value, type=["string", "number", "boolean"])
NO_REFERENCE = t.Wrong(
    "secret-value",
    "a secret is a reference, never its value",
    "Write {aws_secret: path/to/it}; and change the secret, since it stood in a file.",
)
RESERVED = t.Is(_reserved, {"type": "array", "maxItems": 0})


@dataclass(frozen=True)
class Runtime:
    language: str = build(t.choice(*LANGUAGES), "nodejs", "language of the app")
    version: str | None = build(
        t.version(r"[0-9]+(\.[0-9]+)?", 'a release line: "24" or "3.14"'),
        None,
        "release line; default: the one that gen recommends today for every chosen target",
    )


@dataclass(frozen=True)
class App:
    path: str = build(
        t.text(w.relative_folder),
        "app",
        "folder of the code; generated once where it is missing, then yours",
    )
    command: tuple[str, ...] | None = build(
        w.COMMAND, None, "how the app is started; default: the entry file of the language"
    )


@dataclass(frozen=True)
class Http:
    port: int = build(
        u.number(1024, 65535, "Ports below 1024 need root; no artifact runs as root."),
        8080,
        "where the app listens; balancers listen on 80 and 443",
    )
    routes: tuple[str, ...] = build(
        Listed(ROUTE, 1, 200),
        ("GET /",),
        "METHOD /path with {variables}, ANY /path, or $default",
    )
    request_timeout: int = build(u.DURATION, 15_000, "the longest request")


@dataclass(frozen=True)
class Health:
    live: str = build(HTTP_PATH, "/healthz", "answers 200 while the process works")
    ready: str = build(HTTP_PATH, "/readyz", "answers 200 while requests are welcome")
    start: int = build(u.DURATION, 10_000, "from process start to first ready")
    drain: int = build(u.DURATION, 20_000, "the whole budget from SIGTERM to exit")


@dataclass(frozen=True)
class SecretRef:
    """Where a secret is kept. Its value never stands in the spec."""

    aws_secret: str | None = key(
        t.form(
            "bad-secret-name",
            "[A-Za-z0-9/_+=.@-]{1,512}",
            "a name in Secrets Manager: letters, digits and /_+=.@-",
        ),
        None,
        "name in AWS Secrets Manager",
    )
    aws_parameter: str | None = key(
        t.form("bad-parameter-name", "/[A-Za-z0-9_./-]{1,1000}", "a name that starts with /"),
        None,
        "name in the SSM Parameter Store",
    )
    kms_key: str | None = key(
        t.form(
            "bad-kms-key",
            "arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+",
            "the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID",
        ),
        None,
        "ARN of the key that encrypts it, where it is not the account's own",
    )


@dataclass(frozen=True)
class Resources:
    cpu: int = key(u.CPU, 250, "CPU that one copy may count on")
    memory: int = key(u.SIZE, 256 * 2**20, "memory that one copy gets")


@dataclass(frozen=True)
class Scale:
    min: int = key(u.number(1, 10_000), 3, "copies at least")
    max: int = key(u.number(1, 10_000), 10, "copies at most")
    cpu: int = key(u.PERCENT, 60, "average CPU use to aim at")


@dataclass(frozen=True)
class Rollout:
    strategy: str = key(
        t.choice("rolling", "blue_green", "canary"),
        "rolling",
        "how a new version replaces the old one",
    )
    max_surge: str = key(u.SURGE, "1", "copies above the wanted number during a rollout")
    max_unavailable: str = key(u.SURGE, "0", "copies that may be missing during a rollout")
    bake: int = key(u.DURATION, 60_000, "how long a new version is watched before it counts")


@dataclass(frozen=True)
class Rollback:
    automatic: bool = key(t.BOOL, True, "go back by itself when a rollout fails")
    keep: int = key(u.number(1, 100), 5, "releases kept to go back to")


@dataclass(frozen=True)
class Traffic:
    hosts: Mapping[str, str] = key(
        Keyed(TARGET, HOST_NAME),
        {},
        "host name by target, e.g. {vm: app.example.com}; none means plain HTTP",
    )
    zone: str | None = key(
        HOST_NAME, None, "Route 53 zone in which certificates are made and validated"
    )
    certificate_arn: str | None = key(
        t.form(
            "bad-certificate-arn",
            "arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+",
            "the ARN of an ACM certificate: arn:aws:acm:REGION:ACCOUNT:certificate/ID",
        ),
        None,
        "an existing certificate, in place of zone",
    )
    balance: str = key(
        t.choice("least_connections", "round_robin"),
        "least_connections",
        "how a copy is chosen for a request",
    )
    rate_limit: str | None = key(
        t.form("bad-rate", "[1-9][0-9]{0,5}/[sm]", "a rate, such as 100/s or 1000/m"),
        None,
        "requests per client: 100/s or 1000/m",
    )
    public: bool = key(t.BOOL, True, "reachable from the internet")


@dataclass(frozen=True)
class Server:
    os: str = key(t.choice("amazon_linux", "debian"), "amazon_linux", "operating system")
    instance_type: str = key(INSTANCE_TYPE, "t3.small", "EC2 instance type")


@dataclass(frozen=True)
class Vm:
    instance_type: str = key(INSTANCE_TYPE, "t3.small", "EC2 instance type")
    architecture: str = build(ARCHITECTURE, "x86_64", "processor of image and instances")


@dataclass(frozen=True)
class Container:
    kubernetes: str | None = key(
        t.version(r"1\.[0-9]{2}", 'a minor version, such as "1.36"'),
        None,
        "Kubernetes minor version; default: the newest in EKS standard support",
    )
    nodes: str = key(
        t.choice("auto", "managed"), "auto", "auto: EKS Auto Mode; managed: a node group"
    )
    node_type: str | None = key(INSTANCE_TYPE, None, "EC2 instance type, with nodes: managed")
    cluster: str | None = key(
        t.form("bad-cluster-name", "[A-Za-z0-9][A-Za-z0-9_-]{0,99}", "the name of an EKS cluster"),
        None,
        "an existing cluster; none is made then",
    )
    api_cidrs: tuple[str, ...] = key(
        Listed(CIDR),
        (),
        "address ranges that may reach the cluster's API; none: only from inside",
    )


@dataclass(frozen=True)
class Serverless:
    memory: int = key(u.number(128, 10_240), 256, "MB of memory of the function")
    architecture: str = build(ARCHITECTURE, "arm64", "processor of the function")
    handler: str | None = key(
        t.form(
            "bad-handler",
            r"[A-Za-z0-9_./-]{1,120}\.[A-Za-z0-9_]{1,80}",
            "file.function, such as lambda.handler",
        ),
        None,
        "handler of an app of your own",
    )
    adapter: str | None = key(t.choice("web"), None, "web: the Lambda Web Adapter layer")


@dataclass(frozen=True)
class Network:
    vpc_id: str = key(
        t.form("bad-vpc", "vpc-[0-9a-f]{8,17}", "a VPC id: vpc-0123456789abcdef0"),
        REQUIRED,
        "an existing VPC",
    )
    private_subnets: tuple[str, ...] = key(Listed(SUBNET, 2), REQUIRED, "in two zones at least")
    public_subnets: tuple[str, ...] = key(Listed(SUBNET), (), "for public balancers")


@dataclass(frozen=True)
class State:
    s3_bucket: str = key(
        t.form("bad-bucket", "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "an S3 bucket name"),
        REQUIRED,
        "bucket for the state of OpenTofu",
    )
    region: str | None = key(REGION, None, "region of the bucket; default: the app's")


@dataclass(frozen=True)
class Spec:
    """An app, and how to run many copies of it."""

    gen: int = build(t.Is(w.format_one, {"const": 1}), REQUIRED, "version of the spec format")
    name: str = build(
        t.text(w.app_name, pattern="^[a-z]([a-z0-9-]{0,22}[a-z0-9])$"),
        REQUIRED,
        "DNS label in lower case, 2 to 24 characters",
    )
    owner: str = key(
        t.text(w.free_text(100), maxLength=100),
        "unowned",
        "goes to labels and tags everywhere",
    )
    description: str = key(
        t.text(w.free_text(300), maxLength=300), "", "what the app is, in one line"
    )
    targets: tuple[str, ...] = build(
        Listed(t.choice(*TARGETS, "all"), 1, one=True),
        (),
        "server, vm, container, serverless; or all",
    )
    account: str | None = key(
        ACCOUNT, None, "AWS account id; where set, every apply is guarded by it"
    )
    region: str = key(REGION, "us-east-2", "AWS region")
    runtime: Runtime = section(Runtime, "the language of the app")
    app: App = section(App, "the code")
    http: Http = section(Http, "what the app serves")
    health: Health = section(Health, "auto healing")
    config: Mapping[str, str] = key(
        Keyed(VARIABLE, CONFIG_VALUE), {}, "configuration: environment variables"
    )
    secrets: Mapping[str, SecretRef] = key(
        Keyed(VARIABLE, SecretRef, NO_REFERENCE), {}, "references to secrets, never their values"
    )
    resources: Resources = section(Resources, "scheduling")
    scale: Scale = section(Scale, "auto scaling")
    rollout: Rollout = section(Rollout, "deployment strategy")
    rollback: Rollback = section(Rollback, "rollback")
    traffic: Traffic = section(Traffic, "load balancing")
    links: tuple[str, ...] = key(RESERVED, (), "service communication (reserved)")
    disks: tuple[str, ...] = key(RESERVED, (), "disks (reserved)")
    server: Server = section(Server, "options of the server approach")
    vm: Vm = section(Vm, "options of the VM approach")
    container: Container = section(Container, "options of the container approach")
    serverless: Serverless = section(Serverless, "options of the serverless approach")
    network: Network | None = key(Network, None, "an existing network")
    state: State | None = key(State, None, "remote state of OpenTofu; none is local")
    templates: tuple[str, ...] = build(RESERVED, (), "layers of house templates (reserved)")


class Environment(NamedTuple):
    """One environment: its name, and the spec as it holds there."""

    name: str
    spec: Spec


class Project(NamedTuple):
    """A whole spec file: what all environments share, and each environment merged over it."""

    base: Spec
    environments: tuple[Environment, ...]


class Key(NamedTuple):
    """A key as the model declares it."""

    kind: Kind
    default: Any
    doc: str
    at_build: bool
    required: bool


def keys(kind: type) -> dict[str, Key]:
    """The keys of a section, in the order of its documentation."""
    return {
        one.name: Key(
            one.metadata["kind"],
            {} if callable(one.default_factory) else one.default,
            one.metadata["doc"],
            one.metadata["at_build"],
            one.metadata["required"],
        )
        for one in fields(kind)
    }


def build_keys(kind: type = Spec, above: tuple[str, ...] = ()) -> frozenset[tuple[str, ...]]:
    """The keys that are fixed at build time, as paths."""
    found: set[tuple[str, ...]] = set()
    for name, one in keys(kind).items():
        if one.at_build:
            found.add((*above, name))
        elif isinstance(one.kind, type):
            found |= build_keys(one.kind, (*above, name))
    return frozenset(found)
