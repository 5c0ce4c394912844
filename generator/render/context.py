"""The render context: every value that a template prints, computed once.

Whatever two artifacts must agree on (ports, budgets, names, labels, uid) is a value here and nowhere
else; templates choose, loop and print. The context holds plain values only (dict, list, str, int,
bool, None), so that stock copier can render from the same as YAML. Free text is `Free`.
"""

from __future__ import annotations

from typing import Any

from generator.render import servers, vm
from generator.render.names import label_value, physical_name
from generator.render.quoting import Free
from generator.spec.model import Environment, Project, Spec
from generator.spec.rules import SHUTDOWN_DELAY_MS, architecture
from generator.targets import Resolved, container, nodes

UID = 10001
"""User and group of the app in every image: above 10000, so that it is nobody on any host."""

BALANCER_IDLE_S = 60
"""How long a balancer at least keeps an idle connection to the app; the app must keep it longer."""

BALANCER_IDLE_MARGIN_S = 5
BALANCER_IDLE_MOST_S = 4000
"""The longest idle time of an Application Load Balancer."""

PRE_STOP_S = 15
"""How long a pod still serves after it was told to go and before SIGTERM: endpoints and the target
group need that long to take it out."""

GRACE_MARGIN_S = 5

LONGEST_CLUSTER = 32
"""EKS takes 100, but names of roles begin with the cluster's, and IAM takes 64."""

CANARY_PERCENT = 10
"""The share of requests that a canary gets while it is watched."""

MIB = 2**20

Context = dict[str, Any]


def context(project: Project, resolved: Resolved) -> Context:
    """What the templates see."""
    spec = project.base
    return {
        "name": spec.name,
        # Hyphens may not stand in names of roles and variables of Ansible.
        "role": spec.name.replace("-", "_"),
        "owner": Free(spec.owner),
        "owner_label": label_value(spec.owner),
        "description": Free(spec.description or f"The app {spec.name}"),
        "targets": list(resolved.targets),
        "account": spec.account,
        "region": spec.region,
        "registry_domain": _registry_domain(spec.region),
        "partition": _partition(spec.region),
        # Of environments that are not in the account of the registry.
        "other_accounts": sorted(
            {one.spec.account for one in project.environments if one.spec.account} - {spec.account}
        ),
        "state": _state(spec),
        "network": servers.network(spec.network),
        "runtime": {"language": spec.runtime.language, "version": resolved.runtime},
        "app": _app(spec),
        "http": {"port": spec.http.port},
        "routes": [_route(route) for route in spec.http.routes],
        "health": {"live": spec.health.live, "ready": spec.health.ready},
        "hidden_paths": _hidden_paths(spec),
        "times": _times(spec),
        "secrets": [{"name": name} for name in spec.secrets],
        "config_names": list(spec.config),
        "uid": UID,
        "architecture": _docker_architecture(spec),
        "server": servers.common(spec, resolved),
        "vm": {"architecture": spec.vm.architecture, "instance_type": spec.vm.instance_type},
        **_stacks(project, resolved),
        "environments": [
            _environment(environment, resolved) for environment in project.environments
        ],
    }


def _stacks(project: Project, resolved: Resolved) -> Context:
    """Whether any stack makes a cluster, and any a network."""
    specs = [environment.spec for environment in project.environments]
    clusters = [
        spec for spec in specs if "container" in resolved.targets and not spec.container.cluster
    ]
    machines = [spec for spec in specs if "vm" in resolved.targets]
    images = machines and not project.base.network
    return {
        "makes_clusters": bool(clusters),
        "makes_networks": bool(images) or any(not spec.network for spec in clusters + machines),
    }


def _app(spec: Spec) -> Context:
    return {
        "path": spec.app.path,
        "own": spec.app.command is not None,
        "command": [Free(word) for word in spec.app.command or _entry(spec.runtime.language)],
    }


def _entry(language: str) -> tuple[str, ...]:
    return ("node", "server.js") if language == "nodejs" else ("python", "server.py")


def _route(route: str) -> Context:
    method, _, path = route.rpartition(" ")
    return {
        "key": route,
        "method": method,
        "path": path,
        "is_root": route == "GET /",
    }


def _hidden_paths(spec: Spec) -> list[str]:
    """What load balancers keep from the public, which match a path as it is spelled."""
    paths = [path.rstrip("/") for path in (spec.health.live, spec.health.ready, "/version")]
    return [spelled for path in paths for spelled in (path, f"{path}/")]


def _times(spec: Spec) -> Context:
    """Durations, each in the unit of its name."""
    drain_s = spec.health.drain // 1000
    start_s = spec.health.start // 1000
    request_s = spec.http.request_timeout // 1000
    # A balancer gives up on a request that says nothing for as long as its idle time.
    idle_s = min(max(BALANCER_IDLE_S, request_s + BALANCER_IDLE_MARGIN_S), BALANCER_IDLE_MOST_S)
    return {
        "request_timeout_ms": spec.http.request_timeout,
        "request_timeout_s": request_s,
        "start_s": start_s,
        # Three times the declared start: a crowded node must not look like a broken app.
        "startup_failures": max(30, 3 * start_s),
        "drain_ms": spec.health.drain,
        "drain_s": drain_s,
        "shutdown_delay_s": SHUTDOWN_DELAY_MS // 1000,
        "balancer_idle_s": idle_s,
        "keep_alive_ms": (idle_s + 5) * 1000,
        "headers_timeout_ms": (idle_s + 6) * 1000,
        "pre_stop_s": PRE_STOP_S,
        "grace_s": PRE_STOP_S + drain_s + GRACE_MARGIN_S,
    }


def _registry_domain(region: str) -> str:
    """Where the image registry of a region is, without the account."""
    return f"dkr.ecr.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def _partition(region: str) -> str:
    """The part of AWS that a region belongs to, as ARNs name it."""
    for prefix, partition in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov")):
        if region.startswith(prefix):
            return partition
    return "aws"


def _state(spec: Spec) -> Context | None:
    """Where OpenTofu keeps its state; None is a file beside each stack."""
    if spec.state is None:
        return None
    return {"bucket": spec.state.s3_bucket, "region": spec.state.region or spec.region}


def _docker_architecture(spec: Spec) -> str:
    node_type = spec.container.node_type
    return "arm64" if node_type and architecture(node_type) == "arm64" else "amd64"


def _environment(environment: Environment, resolved: Resolved) -> Context:
    name, spec = environment
    app = spec.name
    options = spec.container
    memory_mib = max(1, spec.resources.memory // MIB)
    return {
        "name": name,
        "namespace": f"{app}-{name}",
        "cluster": options.cluster or physical_name(app, name, "eks", LONGEST_CLUSTER),
        "own_cluster": options.cluster is None,
        "owner": Free(spec.owner),
        "owner_label": label_value(spec.owner),
        "account": spec.account,
        "region": spec.region,
        "partition": _partition(spec.region),
        "config": [{"name": key, "value": Free(value)} for key, value in spec.config.items()],
        "secrets": [_secret(key, secret) for key, secret in spec.secrets.items()],
        "cpu": cpu_quantity(spec.resources.cpu),
        # Twice the request: room to start and to answer a burst, while no copy can starve a node.
        "cpu_limit": cpu_quantity(2 * spec.resources.cpu),
        "memory": memory_quantity(spec.resources.memory),
        # What V8 may use of the memory: the rest is for buffers, stacks and the runtime itself.
        "heap_mib": memory_mib * 3 // 4,
        "scale": {"min": spec.scale.min, "max": spec.scale.max, "cpu": spec.scale.cpu},
        "rollout": {
            "strategy": spec.rollout.strategy,
            # Two sets of pods that take turns, instead of one that is replaced pod by pod.
            "colors": spec.rollout.strategy != "rolling",
            "max_surge": _int_or_percent(spec.rollout.max_surge),
            "max_unavailable": _int_or_percent(spec.rollout.max_unavailable),
            "bake_s": spec.rollout.bake // 1000,
            "canary_percent": CANARY_PERCENT,
        },
        # How many copies the cluster must have room for, while a release is rolled out at full scale.
        "most_copies": container.most_copies(spec),
        # A rollout that stands still for this long has failed.
        "progress_deadline_s": max(300, 6 * spec.health.start // 1000 + 120),
        "rollback": {"automatic": spec.rollback.automatic, "keep": spec.rollback.keep},
        "host": spec.traffic.hosts.get("container"),
        "certificate_arn": spec.traffic.certificate_arn,
        "public": spec.traffic.public,
        "balance": "least_outstanding_requests"
        if spec.traffic.balance == "least_connections"
        else "round_robin",
        "auto_mode": options.nodes == "auto",
        "nodes": _nodes(spec),
        "api_cidrs": list(options.api_cidrs),
        "kubernetes": options.kubernetes or resolved.kubernetes,
        "network": servers.network(spec.network),
        "server": servers.environment(name, spec),
        "vm": vm.environment(name, spec),
    }


def _nodes(spec: Spec) -> Context | None:
    """What a managed node group is made of; None where EKS chooses its nodes, or the cluster is not ours."""
    if spec.container.nodes != "managed" or spec.container.cluster:
        return None
    chosen = container.node_type(spec)
    room = nodes.room(chosen)
    if not room:
        return None
    copies = container.most_copies(spec)
    count = nodes.needed(room, copies, spec.resources.cpu, spec.resources.memory)
    return {"type": chosen, "architecture": architecture(chosen), "count": count}


def _secret(name: str, secret: Any) -> Context:
    return {
        "name": name,
        "store": "secretsmanager" if secret.aws_secret else "ssmparameter",
        "reference": secret.aws_secret or secret.aws_parameter,
        "kms_key": secret.kms_key,
    }


def _int_or_percent(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def cpu_quantity(millicores: int) -> str:
    """Millicores in the canonical form of Kubernetes, so that `kubectl diff` stays quiet."""
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def memory_quantity(size: int) -> str:
    """Bytes in the canonical form of Kubernetes."""
    for unit, factor in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
        if size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
