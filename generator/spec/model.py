"""The spec: every key of `app.yaml`, its default and its documentation.

One source: the field descriptions here become the JSON Schema (`gen schema`), the reference page and
the comments in a new `app.yaml`. Values are in base units: durations in milliseconds, sizes in
bytes, CPU in millicores, percentages as whole numbers. Rules between keys are in `rules`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from generator.spec import types as t

TARGETS = ("server", "vm", "container", "serverless")
LANGUAGES = ("nodejs", "python")


class Section(BaseModel):
    """A section of the spec: strict, and never changed after it was made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def key(default: Any = ..., description: str = "", **more: Any) -> Any:
    """A key that each environment may override."""
    return Field(default, description=description, **more)


def build(default: Any = ..., description: str = "", **more: Any) -> Any:
    """A key that is fixed when image, AMI or zip is built, so no environment may override it."""
    return Field(
        default, description=description, json_schema_extra={"x-fixed-at": "build"}, **more
    )


def _listed(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(value)
    raise t.Wrong(
        "not-a-list", f"expected a list, found {t.shown(value)}", "Write [first, second]."
    )


def _mapped(value: object) -> object:
    if isinstance(value, Mapping):
        return value
    raise t.Wrong(
        "not-a-mapping", f"expected key: value pairs, found {t.shown(value)}", "Write {KEY: value}."
    )


def _targets(value: object) -> object:
    return (value,) if isinstance(value, str) else _listed(value)


def _reserved(value: object) -> object:
    if value:
        raise t.Wrong(
            "reserved", "this section is reserved: it comes later", "Leave it empty or out."
        )
    return ()


Account = Annotated[
    str,
    t.form("bad-account", "[0-9]{12}", 'an AWS account id: 12 digits, in quotes: "012345678901"'),
]
Region = Annotated[
    str, t.form("bad-region", "[a-z]{2}(-[a-z]+)+-[0-9]", "an AWS region, such as us-east-2")
]
InstanceType = Annotated[
    str,
    t.form(
        "bad-instance-type",
        r"[a-z][a-z0-9-]*\.[a-z0-9-]+",
        "an EC2 instance type, such as t3.small",
    ),
]
HostName = Annotated[
    str,
    t.form(
        "bad-host-name",
        r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])",
        "a host name in lower case, such as app.example.com",
        str.lower,
    ),
]
Cidr = Annotated[str, t.text(t.ipv4_range, pattern=r"^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$")]
Target = Annotated[str, t.choice(*TARGETS)]
TargetOrAll = Annotated[str, t.choice(*TARGETS, "all")]
Architecture = Annotated[str, t.choice("x86_64", "arm64")]
ConfigValue = Annotated[str, t.text(t.config_value)]
Reserved = Annotated[tuple[str, ...], t.Is(_reserved, {"type": "array", "maxItems": 0})]
Subnet = Annotated[
    str, t.form("bad-subnet", "subnet-[0-9a-f]{8,17}", "a subnet id: subnet-0123456789abcdef0")
]
HttpPath = Annotated[str, t.text(t.http_path, pattern="^/[A-Za-z0-9._~/-]*$")]
Variable = Annotated[str, t.text(t.variable_name, pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
Route = Annotated[str, t.text(t.route, examples=["GET /photos/{id}", "$default"])]


class Runtime(Section):
    language: Annotated[str, t.choice(*LANGUAGES)] = build("nodejs", "language of the app")
    version: (
        Annotated[
            str, t.form("bad-version", r"[0-9]+(\.[0-9]+)?", 'a release line: "24" or "3.14"')
        ]
        | None
    ) = build(None, "release line; default: the newest that every chosen target supports")


class App(Section):
    path: Annotated[str, t.text(t.relative_folder)] = build(
        "app", "folder of the code; generated once where it is missing, then yours"
    )
    command: t.Command | None = build(
        None, "how the app is started; default: the entry file of the language"
    )


class Http(Section):
    port: Annotated[
        int, t.number(1024, 65535, "Ports below 1024 need root; no artifact runs as root.")
    ] = build(8080, "where the app listens; balancers listen on 80 and 443")
    routes: Annotated[tuple[Route, ...], BeforeValidator(_listed)] = build(
        ("GET /",),
        "METHOD /path with {variables}, ANY /path, or $default",
        min_length=1,
        max_length=200,
    )
    request_timeout: t.Duration = build(15_000, "the longest request")


class Health(Section):
    live: HttpPath = build("/healthz", "answers 200 while the process works")
    ready: HttpPath = build("/readyz", "answers 200 while requests are welcome")
    start: t.Duration = build(10_000, "from process start to first ready")
    drain: t.Duration = build(20_000, "the whole budget from SIGTERM to exit")


class SecretRef(Section):
    """Where a secret is kept. Its value never stands in the spec."""

    aws_secret: (
        Annotated[
            str, t.form("bad-secret-name", "[A-Za-z0-9/_+=.@-]{1,512}", "a name in Secrets Manager")
        ]
        | None
    ) = key(None, "name in AWS Secrets Manager")
    aws_parameter: (
        Annotated[
            str,
            t.form("bad-parameter-name", "/[A-Za-z0-9_./-]{1,1000}", "a name that starts with /"),
        ]
        | None
    ) = key(None, "name in the SSM Parameter Store")
    kms_key: (
        Annotated[
            str,
            t.form(
                "bad-kms-key",
                "arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+",
                "the ARN of a KMS key",
            ),
        ]
        | None
    ) = key(None, "ARN of the key that encrypts it, where it is not the account's own")


class Resources(Section):
    cpu: t.Cpu = key(250, "CPU that one copy may count on")
    memory: t.Size = key(256 * 2**20, "memory that one copy gets")


class Scale(Section):
    min: Annotated[int, t.number(1, 10_000)] = key(3, "copies at least")
    max: Annotated[int, t.number(1, 10_000)] = key(10, "copies at most")
    cpu: t.Percent = key(60, "average CPU use to aim at")


class Rollout(Section):
    strategy: Annotated[str, t.choice("rolling", "blue_green", "canary")] = key(
        "rolling", "how a new version replaces the old one"
    )
    max_surge: t.Surge = key("1", "copies above the wanted number during a rollout")
    max_unavailable: t.Surge = key("0", "copies that may be missing during a rollout")
    bake: t.Duration = key(60_000, "how long a new version is watched before it counts")


class Rollback(Section):
    automatic: t.Bool = key(True, "go back by itself when a rollout fails")
    keep: Annotated[int, t.number(1, 100)] = key(5, "releases kept to go back to")


class Traffic(Section):
    hosts: Annotated[Mapping[Target, HostName], BeforeValidator(_mapped)] = key(
        {}, "host name by target, e.g. {vm: app.example.com}; none means plain HTTP"
    )
    zone: HostName | None = key(None, "Route 53 zone in which certificates are made and validated")
    certificate_arn: (
        Annotated[
            str,
            t.form(
                "bad-certificate-arn",
                "arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/[A-Za-z0-9-]+",
                "the ARN of an ACM certificate",
            ),
        ]
        | None
    ) = key(None, "an existing certificate, in place of zone")
    balance: Annotated[str, t.choice("least_connections", "round_robin")] = key(
        "least_connections", "how a copy is chosen for a request"
    )
    rate_limit: (
        Annotated[
            str, t.form("bad-rate", "[1-9][0-9]{0,5}/[sm]", "a rate, such as 100/s or 1000/m")
        ]
        | None
    ) = key(None, "requests per client: 100/s or 1000/m")
    public: t.Bool = key(True, "reachable from the internet")


class Server(Section):
    os: Annotated[str, t.choice("amazon_linux", "debian")] = key("amazon_linux", "operating system")
    instance_type: InstanceType = key("t3.small", "EC2 instance type")


class Vm(Section):
    instance_type: InstanceType = key("t3.small", "EC2 instance type")
    architecture: Architecture = build("x86_64", "processor of image and instances")


class Container(Section):
    kubernetes: (
        Annotated[str, t.form("bad-version", r"1\.[0-9]{2}", 'a minor version, such as "1.36"')]
        | None
    ) = key(None, "Kubernetes minor version; default: the newest in EKS standard support")
    nodes: Annotated[str, t.choice("auto", "managed")] = key(
        "auto", "auto: EKS Auto Mode; managed: a node group"
    )
    node_type: InstanceType | None = key(None, "EC2 instance type, with nodes: managed")
    cluster: (
        Annotated[
            str,
            t.form(
                "bad-cluster-name", "[A-Za-z0-9][A-Za-z0-9_-]{0,99}", "the name of an EKS cluster"
            ),
        ]
        | None
    ) = key(None, "an existing cluster; none is made then")
    api_cidrs: Annotated[tuple[Cidr, ...], BeforeValidator(_listed)] = key(
        (), "address ranges that may reach the cluster's API; none: only from inside"
    )


class Serverless(Section):
    memory: Annotated[int, t.number(128, 10_240)] = key(256, "MB of memory of the function")
    architecture: Architecture = build("arm64", "processor of the function")
    handler: (
        Annotated[
            str,
            t.form("bad-handler", r"[A-Za-z0-9_./-]{1,120}\.[A-Za-z0-9_]{1,80}", "file.function"),
        ]
        | None
    ) = key(None, "handler of an app of your own")
    adapter: Annotated[str, t.choice("web")] | None = key(None, "web: the Lambda Web Adapter layer")


class Network(Section):
    vpc_id: Annotated[
        str, t.form("bad-vpc", "vpc-[0-9a-f]{8,17}", "a VPC id: vpc-0123456789abcdef0")
    ] = key(description="an existing VPC")
    private_subnets: Annotated[tuple[Subnet, ...], BeforeValidator(_listed)] = key(
        description="in two zones at least", min_length=2
    )
    public_subnets: Annotated[tuple[Subnet, ...], BeforeValidator(_listed)] = key(
        (), "for public balancers"
    )


class State(Section):
    s3_bucket: Annotated[
        str, t.form("bad-bucket", "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "an S3 bucket name")
    ] = key(description="bucket for the state of OpenTofu")
    region: Region | None = key(None, "region of the bucket; default: the app's")


class Spec(Section):
    """An app, and how to run many copies of it."""

    gen: Annotated[int, t.Is(t.format_one, {"const": 1})] = build(
        description="version of the spec format"
    )
    name: Annotated[str, t.text(t.app_name, pattern="^[a-z]([a-z0-9-]{0,22}[a-z0-9])$")] = build(
        description="DNS label in lower case, 2 to 24 characters"
    )
    owner: Annotated[str, t.text(t.free_text(100), maxLength=100)] = key(
        "unowned", "goes to labels and tags everywhere"
    )
    description: Annotated[str, t.text(t.free_text(300), maxLength=300)] = key(
        "", "what the app is, in one line"
    )
    targets: Annotated[tuple[TargetOrAll, ...], BeforeValidator(_targets)] = build(
        ("all",), "server, vm, container, serverless; or all", min_length=1
    )
    account: Account | None = key(None, "AWS account id; where set, every apply is guarded by it")
    region: Region = key("us-east-2", "AWS region")
    runtime: Runtime = key(Runtime(), "the language of the app")
    app: App = key(App(), "the code")
    http: Http = key(Http(), "what the app serves")
    health: Health = key(Health(), "auto healing")
    config: Annotated[Mapping[Variable, ConfigValue], BeforeValidator(_mapped)] = key(
        {}, "configuration: environment variables"
    )
    secrets: Annotated[Mapping[Variable, SecretRef], BeforeValidator(_mapped)] = key(
        {}, "references to secrets, never their values"
    )
    resources: Resources = key(Resources(), "scheduling")
    scale: Scale = key(Scale(), "auto scaling")
    rollout: Rollout = key(Rollout(), "deployment strategy")
    rollback: Rollback = key(Rollback(), "rollback")
    traffic: Traffic = key(Traffic(), "load balancing")
    links: Reserved = key((), "service communication (reserved)")
    disks: Reserved = key((), "disks (reserved)")
    server: Server = key(Server(), "options of the server approach")
    vm: Vm = key(Vm(), "options of the VM approach")
    container: Container = key(Container(), "options of the container approach")
    serverless: Serverless = key(Serverless(), "options of the serverless approach")
    network: Network | None = key(None, "an existing network")
    state: State | None = key(None, "remote state of OpenTofu; none is local")
    templates: Reserved = build((), "layers of house templates (reserved)")


class Environment(NamedTuple):
    """One environment: its name, and the spec as it holds there."""

    name: str
    spec: Spec


class Project(NamedTuple):
    """A whole spec file: what all environments share, and each environment merged over it."""

    base: Spec
    environments: tuple[Environment, ...]


def build_keys() -> frozenset[tuple[str, ...]]:
    """The keys that are fixed at build time, as paths; a section in which all are is listed itself."""
    return frozenset(_build_keys(Spec, ()))


def _build_keys(model: type[BaseModel], above: tuple[str, ...]) -> set[tuple[str, ...]]:
    keys: set[tuple[str, ...]] = set()
    for name, field in model.model_fields.items():
        if isinstance(field.json_schema_extra, dict) and "x-fixed-at" in field.json_schema_extra:
            keys.add((*above, name))
        elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            keys |= _build_keys(field.annotation, (*above, name))
    return keys
