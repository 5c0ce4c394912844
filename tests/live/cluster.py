"""A Kubernetes control plane for tests, in a network of its own, and a stand-in for AWS.

What is real: etcd, the API server, the controllers, the scheduler, kubectl. What is not: nodes and
pods are kwok's, `tests.live.pods` listens at the pods' addresses, moto is AWS, and
`tests.live.balancer` the controller of load balancers.

All servers live in one network namespace and one PID namespace. So they take no port of the
machine, and none outlives the tests: the namespaces end when the test process does, however.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import tools

PROGRAMS = {
    "etcd": "etcd",
    "kube-apiserver": "kubernetes",
    "kube-controller-manager": "kubernetes",
    "kube-scheduler": "kubernetes",
    "kwok": "kwok",
    "aws": "aws",
}
REGION = "us-east-2"
ZONES = tuple(f"{REGION}{letter}" for letter in "abc")
_ROOT = Path(__file__).parent.parent.parent
_PODS = "10.244.0.0/16"
_SERVICES = "10.96.0.0/16"
# Every address of a pod is one of this machine; otherwise nothing could listen there. The holder
# ends when its input does, and with it, as it is the first process, all that are in there.
_HOLDER = f"ip link set lo up && ip route add local {_PODS} dev lo && echo ready && exec cat"
_API = "https://127.0.0.1:6443"
_ETCD = "http://127.0.0.1:2379"
_AWS = "http://127.0.0.1:5000"


class NoClusterError(Exception):
    """No cluster can run on this machine; the text says why, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True)
class Cluster:
    """A running cluster. Its context is "local", its user may do everything."""

    folder: Path
    _namespace: int = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """For a command that runs inside: it finds our kubectl and aws, this cluster, this AWS."""
        return _environment(self.folder)

    def inside(self, command: Sequence[str | Path]) -> list[str]:
        """The command that runs another in the cluster's network, in the same process."""
        return [
            _program("nsenter"),
            f"--net=/proc/{self._namespace}/ns/net",
            "--",
            *map(str, command),
        ]

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        check: bool = True,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside; `env` is added to the environment. A failure shows its output."""
        done = subprocess.run(
            self.inside(command),
            check=False,
            cwd=cwd,
            env={**self.environment, **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            words = " ".join(map(str, command))
            raise AssertionError(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints; a failure shows all of it."""
        return self.run(["kubectl", *arguments], stdin=stdin).stdout

    def get(self, *arguments: str) -> Any:
        """What `kubectl get` finds, as data."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Apply manifests that are data."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.kubectl("apply", "--filename=-", stdin=json.dumps(whole))

    def aws(self, *arguments: str) -> Any:
        """What the aws command answers, as data."""
        text = self.run(["aws", *arguments, "--output=json"]).stdout
        return json.loads(text) if text.strip() else None

    def call(self, service: str, path: str = "/", port: str = "http") -> str:
        """The answer of one pod of a Service, NAMESPACE/NAME, asked through the API server."""
        namespace, name = service.split("/")
        proxy = f"/api/v1/namespaces/{namespace}/services/http:{name}:{port}/proxy{path}"
        return self.kubectl("get", f"--raw={proxy}")


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster for as long as the block runs; its logs and data are in the folder."""
    _check_machine()
    with ExitStack() as stack:
        holder = _hold_namespaces(stack)
        servers = _Servers(folder, holder.pid)
        cluster = Cluster(folder, holder.pid)
        _start(cluster, servers)
        yield cluster
        servers.check()


def _check_machine() -> None:
    if sys.platform != "linux" or os.getuid() != 0:
        raise NoClusterError("only root of a Linux can make a network for a cluster", "be root")
    if absent := sorted({tool for program, tool in PROGRAMS.items() if not tools.find(program)}):
        raise NoClusterError(
            f"{' and '.join(absent)} are not installed", f"tools/install {' '.join(absent)}"
        )
    for folder, tool in (("crds", "kubernetes"), ("kwok-stages", "kwok")):
        if not (tools.cache() / folder).is_dir():
            raise NoClusterError(f"no {folder} in the tools' cache", f"tools/install {tool}")
    for program, package in (
        ("ip", "iproute2"),
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
    ):
        if not tools.find(program):
            raise NoClusterError(f"{program} is not installed", f"install {package}")


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def _hold_namespaces(stack: ExitStack) -> subprocess.Popen[str]:
    # A session of its own, so that Ctrl-C reaches the tests first and the servers last.
    holder = subprocess.Popen(
        [_program("unshare"), "--net", "--pid", "--fork", "--kill-child", "sh", "-c", _HOLDER],
        env=tools.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    stack.enter_context(_ended(holder))
    assert holder.stdout is not None
    assert holder.stderr is not None
    if holder.stdout.readline() != "ready\n":
        raise NoClusterError(
            f"no network of its own can be made: {holder.stderr.read()}", "run as a full root"
        )
    return holder


@dataclass
class _Servers:
    """The servers of one cluster. Nothing stops them but the end of their namespace."""

    folder: Path
    namespace: int
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: list[str], **environment: str) -> None:
        namespaces = Path(f"/proc/{self.namespace}/ns")
        enter = [
            _program("nsenter"),
            f"--net={namespaces}/net",
            f"--pid={namespaces}/pid_for_children",
        ]
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [*enter, "--", *command],
                cwd=_ROOT,
                env={**_environment(self.folder), **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Fail with the log of a server that has stopped."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                self._fail(f"{name} stopped with exit {process.returncode}", [name])

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                self._fail(f"waited {seconds:.0f} s for {what}", list(self._processes))
            time.sleep(0.1)

    def _fail(self, reason: str, names: list[str]) -> None:
        tails = [f"--- {name}\n{self._log(name).read_text()[-2000:]}" for name in names]
        raise AssertionError("\n".join([reason, *tails]))

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"


def _start(cluster: Cluster, servers: _Servers) -> None:
    folder = cluster.folder
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    _write_kubeconfig(folder, token)
    _write_signing_key(folder / "sa.key")
    _write_stages(folder / "stages.yaml")

    servers.start("etcd", _etcd(folder))
    servers.wait(lambda: _answers(cluster, f"{_ETCD}/health"), "etcd")
    servers.start("kube-apiserver", _api_server(folder))
    servers.start("moto", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "5000"])
    servers.wait(lambda: _is_ready(cluster), "the API server to be ready")

    servers.start("kube-controller-manager", _controller_manager(folder))
    servers.start("kube-scheduler", _scheduler(folder))
    servers.start("kwok", _kwok(folder))
    servers.start("pods", [sys.executable, "-m", "tests.live.pods"])
    crds = [f"--filename={file}" for file in sorted((tools.cache() / "crds").glob("*.yaml"))]
    # Not validated here but by the server: it spares the client all of its schema, 2 s.
    create = ["create", "--validate=false", *crds, "--filename=-"]
    cluster.kubectl(*create, stdin=json.dumps(_objects()))
    servers.wait(lambda: _answers(cluster, f"{_AWS}/moto-api/"), "moto")
    servers.start("balancer", [sys.executable, "-m", "tests.live.balancer"])
    servers.wait(lambda: _takes_pods(cluster), "nodes that take pods, and kinds of our own")


def _etcd(folder: Path) -> list[str]:
    peers = "http://127.0.0.1:2380"
    return [
        _program("etcd"),
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
    ]


def _api_server(folder: Path) -> list[str]:
    return [
        _program("kube-apiserver"),
        f"--etcd-servers={_ETCD}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--cert-dir={folder / 'certificates'}",
        "--authorization-mode=RBAC",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={folder / 'sa.key'}",
        f"--service-account-key-file={folder / 'sa.key'}",
        f"--service-cluster-ip-range={_SERVICES}",
        # It refuses to name an address of loopback as an endpoint; nobody here asks for it.
        "--endpoint-reconciler-type=none",
    ]


def _controller_manager(folder: Path) -> list[str]:
    return [
        _program("kube-controller-manager"),
        f"--kubeconfig={folder / 'kubeconfig'}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={folder / 'sa.key'}",
        f"--root-ca-file={_certificate(folder)}",
        # Only faster: what it does stays the same.
        "--horizontal-pod-autoscaler-sync-period=1s",
        "--node-monitor-period=1s",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]


def _scheduler(folder: Path) -> list[str]:
    return [
        _program("kube-scheduler"),
        f"--kubeconfig={folder / 'kubeconfig'}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def _kwok(folder: Path) -> list[str]:
    return [
        _program("kwok"),
        f"--kubeconfig={folder / 'kubeconfig'}",
        f"--config={folder / 'stages.yaml'}",
        "--manage-all-nodes",
        "--node-ip=10.0.0.1",
        f"--cidr={_PODS}",
        "--server-address=127.0.0.1:10247",
    ]


def _write_kubeconfig(folder: Path, token: str) -> None:
    """As JSON, so that the stand-ins read it without more than the standard library."""
    server = {"server": _API, "certificate-authority": str(_certificate(folder))}
    configuration = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [{"name": "local", "cluster": server}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": "admin"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(configuration))


def _certificate(folder: Path) -> Path:
    """Made by the API server when it starts, with its own authority behind it."""
    return folder / "certificates" / "apiserver.crt"


def _write_signing_key(file: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    file.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def _write_stages(file: Path) -> None:
    """Of kwok, but that a pod starts without being ready: tests.live.pods makes it so."""
    stages = {each.name: each.read_text() for each in (tools.cache() / "kwok-stages").glob("*")}
    start = stages["pod-ready.yaml"]
    start, conditions = re.subn(
        r'status: "True"(\s+type: (?:Ready|ContainersReady)\s)', r'status: "False"\1', start
    )
    start, statuses = re.subn(
        r"(\bcontainerStatuses:.*?ready:) true", r"\1 false", start, count=1, flags=re.DOTALL
    )
    assert (conditions, statuses) == (2, 1), "kwok's stage of a pod is not what it was"
    file.write_text("\n---\n".join((stages | {"pod-ready.yaml": start}).values()))


def _objects() -> dict[str, Any]:
    nodes = [_node(zone, number) for zone in ZONES for number in (1, 2)]
    groups = ("elbv2.k8s.aws/v1beta1", "eks.amazonaws.com/v1")
    definitions = [_binding_definition(*group.split("/")) for group in groups]
    return {"apiVersion": "v1", "kind": "List", "items": nodes + definitions}


def _node(zone: str, number: int) -> dict[str, Any]:
    name = f"node-{zone[-1]}{number}"
    resources = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110"}
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/region": REGION,
        "topology.kubernetes.io/zone": zone,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": resources, "capacity": resources},
    }


def _binding_definition(group: str, version: str) -> dict[str, Any]:
    """A TargetGroupBinding: as much of it as the stand-in of its controller uses."""
    port = {"x-kubernetes-int-or-string": True}
    service = {
        "type": "object",
        "required": ["name", "port"],
        "properties": {"name": {"type": "string"}, "port": port},
    }
    spec = {
        "type": "object",
        "required": ["targetGroupARN", "serviceRef"],
        "properties": {"targetGroupARN": {"type": "string"}, "serviceRef": service},
        "x-kubernetes-preserve-unknown-fields": True,
    }
    schema = {"type": "object", "required": ["spec"], "properties": {"spec": spec}}
    kind = {"kind": "TargetGroupBinding", "singular": "targetgroupbinding"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"targetgroupbindings.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {**kind, "plural": "targetgroupbindings"},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _answers(cluster: Cluster, address: str) -> bool:
    script = f"import urllib.request; urllib.request.urlopen({address!r}, timeout=2)"
    return not cluster.run([sys.executable, "-S", "-c", script], check=False).returncode


def _is_ready(cluster: Cluster) -> bool:
    if not _certificate(cluster.folder).exists():
        return False
    return not cluster.run(["kubectl", "get", "--raw=/readyz"], check=False).returncode


def _takes_pods(cluster: Cluster) -> bool:
    """Whether the nodes are free for pods, those get an account, and our kinds are served."""
    found = cluster.get("nodes,customresourcedefinitions")["items"]
    conditions = {"Node": "Ready", "CustomResourceDefinition": "Established"}
    account = cluster.run(["kubectl", "get", "serviceaccount", "default"], check=False)
    return account.returncode == 0 and all(
        any(
            condition["type"] == conditions[item["kind"]] and condition["status"] == "True"
            for condition in item.get("status", {}).get("conditions", [])
        )
        and not item["spec"].get("taints")
        for item in found
    )


def _environment(folder: Path) -> dict[str, str]:
    """Ours, without what would lead to somebody's real cloud or around by a proxy."""
    kept = {
        name: value
        for name, value in tools.environment().items()
        if not name.startswith(("AWS_", "KUBE")) and not name.lower().endswith("_proxy")
    }
    return {
        **kept,
        "KUBECONFIG": str(folder / "kubeconfig"),
        # Not the user's: every cluster of ours has the same address and may differ in its kinds.
        "KUBECACHEDIR": str(folder / "kubectl-cache"),
        "AWS_ENDPOINT_URL": _AWS,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
    }


def _program(name: str) -> str:
    """Its whole path: a test may choose another PATH for what it runs inside."""
    found = tools.find(name)
    assert found, f"{name} is not installed"
    return str(found)
