"""The stand-ins of the cluster themselves: what other tests may trust."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.live.cluster import ZONES, Cluster

_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
_POD_SECURITY = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace with the strictest rules for pods; goes without anybody waiting for it."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name).strip("-")
    manifest = {"apiVersion": "v1", "kind": "Namespace"}
    cluster.apply({**manifest, "metadata": {"name": name, "labels": _RESTRICTED}})
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def test_a_rollout_fills_three_zones_and_its_pods_answer(cluster: Cluster, namespace: str) -> None:
    """Each pod is Ready, in the slices of its Service and answers through the API server."""
    cluster.apply(_deployment(namespace, "1.0"), _service(namespace))
    _rollout(cluster, namespace)
    pods = cluster.get("pods", "--namespace", namespace)["items"]
    zone_of = {
        node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for node in cluster.get("nodes")["items"]
    }
    assert Counter(zone_of[pod["spec"]["nodeName"]] for pod in pods) == Counter(ZONES)
    names = {pod["metadata"]["name"] for pod in pods}
    _wait(lambda: _ready_addresses(cluster, namespace) == {_ip(pod) for pod in pods}, "slices")
    # The API server takes any of them each time.
    answered: set[str] = set()

    def all_answer() -> bool:
        answer = json.loads(cluster.call(f"{namespace}/app", "/version"))
        answered.add(answer.pop("pod"))
        assert answer == {"name": "app", "version": "1.0"}
        return answered == names

    _wait(all_answer, "an answer of every pod")


def test_a_new_version_replaces_the_old(cluster: Cluster, namespace: str) -> None:
    """After a rollout only the new version answers, and `rollout undo` brings back the old."""
    cluster.apply(_deployment(namespace, "1.0"), _service(namespace))
    _rollout(cluster, namespace)
    cluster.apply(_deployment(namespace, "2.0"))
    _rollout(cluster, namespace)
    assert json.loads(cluster.call(f"{namespace}/app"))["version"] == "2.0"
    cluster.kubectl("rollout", "undo", "deployment/app", "--namespace", namespace)
    _rollout(cluster, namespace)
    assert json.loads(cluster.call(f"{namespace}/app"))["version"] == "1.0"


def test_a_broken_version_never_becomes_ready(cluster: Cluster, namespace: str) -> None:
    """Its pods run and have addresses; the rollout does not end, and the old pods stay."""
    cluster.apply(_deployment(namespace, "1.0"), _service(namespace))
    _rollout(cluster, namespace)
    _wait(lambda: len(_ready_addresses(cluster, namespace)) == 3, "slices")
    before = _ready_addresses(cluster, namespace)
    cluster.apply(_deployment(namespace, "2.0-broken"))
    broken = "app.kubernetes.io/version=2.0-broken"

    def runs() -> bool:
        pods = cluster.get("pods", "--namespace", namespace, "--selector", broken)["items"]
        return any(pod["status"]["phase"] == "Running" and _ip(pod) for pod in pods)

    _wait(runs, "a pod of the broken version")
    with pytest.raises(AssertionError, match="timed out"):
        _rollout(cluster, namespace, timeout="2s")
    assert _ready_addresses(cluster, namespace) == before
    assert json.loads(cluster.call(f"{namespace}/app"))["version"] == "1.0"


def test_an_unwell_version_is_ready_but_answers_500(cluster: Cluster, namespace: str) -> None:
    """What a probe does not see and a smoke test does."""
    cluster.apply(_deployment(namespace, "2.0-unwell"), _service(namespace))
    _rollout(cluster, namespace)
    with pytest.raises(AssertionError, match="InternalError"):
        cluster.call(f"{namespace}/app", "/version")


def test_rules_for_pods_hold(cluster: Cluster, namespace: str) -> None:
    """A pod that may become root is refused, by name of the rule."""
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bad", "namespace": namespace},
        "spec": {"containers": [{"name": "bad", "image": "bad"}]},
    }
    with pytest.raises(AssertionError, match='violates PodSecurity "restricted'):
        cluster.apply(pod)


def test_kinds_that_are_not_of_the_core_are_known(cluster: Cluster, namespace: str) -> None:
    """A SecretProviderClass is accepted, and refused with a key that it has not."""
    manifest = {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": "secrets", "namespace": namespace},
        "spec": {"provider": "aws", "parameters": {"objects": "[]"}},
    }
    cluster.apply(manifest)
    with pytest.raises(AssertionError, match="unknown field"):
        cluster.apply({**manifest, "spec": {"provider": "aws", "typo": 1}})


@pytest.mark.parametrize(
    ("controller", "group"),
    [("eks.amazonaws.com/alb", "eks.amazonaws.com"), ("ingress.k8s.aws/alb", "elbv2.k8s.aws")],
    ids=["auto-mode", "self-managed"],
)
def test_ready_pods_are_healthy_targets(
    cluster: Cluster, namespace: str, controller: str, group: str
) -> None:
    """In the target group of each binding, also after a rollout; a namespace ends with its groups."""
    cluster.apply(_deployment(namespace, "1.0"), _service(namespace))
    cluster.apply(*_ingress(namespace, controller, {"app": 100}))
    _rollout(cluster, namespace)
    _wait(lambda: len(_bindings(cluster, namespace, group)) == 2, "bindings of both backends")
    _wait(lambda: _healthy(cluster, namespace, group) == _targets(cluster, namespace), "targets")
    cluster.apply(_deployment(namespace, "2.0"))
    _rollout(cluster, namespace)
    _wait(
        lambda: _healthy(cluster, namespace, group) == _targets(cluster, namespace), "new targets"
    )

    arns = {binding["spec"]["targetGroupARN"] for binding in _bindings(cluster, namespace, group)}
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    _wait(lambda: not arns & _target_groups(cluster), "the target groups to go")


def test_a_balancer_has_the_weights_of_its_ingress(cluster: Cluster, namespace: str) -> None:
    """They follow the annotation. Status and target groups lead to it; it ends with the namespace."""
    controller = "eks.amazonaws.com/alb"
    cluster.apply(*_ingress(namespace, controller, {"app": 90, "new": 10}))
    _wait(lambda: _hostname(cluster, namespace), "the balancer's name in the status")
    by_name = f"LoadBalancers[?DNSName=='{_hostname(cluster, namespace)}'].LoadBalancerArn"
    named = ("elbv2", "describe-load-balancers", "--query", by_name)
    (balancer,) = cluster.aws(*named)

    def groups() -> dict[str, str]:
        """Of the Services that the action names."""
        return {
            binding["spec"]["serviceRef"]["name"]: binding["spec"]["targetGroupARN"]
            for binding in _bindings(cluster, namespace, "eks.amazonaws.com")
            if binding["spec"]["serviceRef"]["port"] == 80
        }

    _wait(lambda: groups().keys() == {"app", "new"}, "bindings of both Services of the action")
    service_of = {arn: service for service, arn in groups().items()}
    query = ("--target-group-arns", *service_of, "--query", "TargetGroups[].LoadBalancerArns[0]")
    assert cluster.aws("elbv2", "describe-target-groups", *query) == [balancer, balancer]

    query = ("--load-balancer-arn", balancer, "--query", "Listeners[].ListenerArn")
    (listener,) = cluster.aws("elbv2", "describe-listeners", *query)

    def rules() -> dict[str, Any]:
        """The first path of each rule, with what it does: the groups' weights, or the answer."""
        told = cluster.aws("elbv2", "describe-rules", "--listener-arn", listener)["Rules"]
        return {
            rule["Conditions"][0]["PathPatternConfig"]["Values"][0]: {
                service_of.get(group["TargetGroupArn"], "another"): group["Weight"]
                for group in action["ForwardConfig"]["TargetGroups"]
            }
            if action["Type"] == "forward"
            else action["FixedResponseConfig"]["StatusCode"]
            for rule in told
            for action in rule["Actions"]
            if not rule["IsDefault"]
        }

    rest = {"/*": {"another": 1}, "/closed": "403"}
    assert rules() == {"/weighted": {"app": 90, "new": 10}, **rest}
    cluster.apply(*_ingress(namespace, controller, {"app": 0, "new": 100}))
    _wait(lambda: rules() == {"/weighted": {"app": 0, "new": 100}, **rest}, "the new weights")

    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    _wait(lambda: not cluster.aws(*named), "the balancer to go")


def _deployment(namespace: str, version: str) -> dict[str, Any]:
    name = {"app.kubernetes.io/name": "app"}
    labels = {**name, "app.kubernetes.io/version": version}
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": name},
    }
    container = {
        "name": "app",
        "image": f"app:{version}",
        "ports": [{"name": "http", "containerPort": 8080}],
        "securityContext": _CONTAINER_SECURITY,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": namespace},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": name},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    # The end of a namespace waits for what its pods ask for, half of it at least.
                    "terminationGracePeriodSeconds": 1,
                    "containers": [container],
                    "securityContext": _POD_SECURITY,
                    "topologySpreadConstraints": [spread],
                },
            },
        },
    }


def _service(namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "app", "namespace": namespace},
        "spec": {
            "selector": {"app.kubernetes.io/name": "app"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def _ingress(namespace: str, controller: str, weights: dict[str, int]) -> list[dict[str, Any]]:
    """One that sends to a Service and, by an action in an annotation, to some with weights."""
    groups = [
        {"serviceName": service, "servicePort": "80", "weight": weight}
        for service, weight in weights.items()
    ]
    actions = {
        "weighted": {"type": "forward", "forwardConfig": {"targetGroups": groups}},
        "closed": {"type": "fixed-response", "fixedResponseConfig": {"statusCode": "403"}},
    }
    class_name = controller.replace("/", "-")
    backends = {
        ("/", "Prefix"): {"name": "app", "port": {"name": "http"}},
        ("/weighted", "Prefix"): {"name": "weighted", "port": {"name": "use-annotation"}},
        ("/closed", "Exact"): {"name": "closed", "port": {"name": "use-annotation"}},
    }
    paths = [
        {"path": path, "pathType": kind, "backend": {"service": service}}
        for (path, kind), service in backends.items()
    ]
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": class_name},
            "spec": {"controller": controller},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {
                "name": "app",
                "namespace": namespace,
                "annotations": {
                    f"alb.ingress.kubernetes.io/actions.{name}": json.dumps(action)
                    for name, action in actions.items()
                },
            },
            "spec": {"ingressClassName": class_name, "rules": [{"http": {"paths": paths}}]},
        },
    ]


def _rollout(cluster: Cluster, namespace: str, timeout: str = "30s") -> None:
    status = ["rollout", "status", "deployment/app", f"--timeout={timeout}"]
    cluster.kubectl(*status, "--namespace", namespace)


def _ip(pod: dict[str, Any]) -> str:
    address: str = pod["status"].get("podIP", "")
    return address


def _ready_addresses(cluster: Cluster, namespace: str) -> set[str]:
    return {
        address
        for part in cluster.get("endpointslices", "--namespace", namespace)["items"]
        for endpoint in part["endpoints"] or []
        if endpoint["conditions"]["ready"]
        for address in endpoint["addresses"]
    }


def _bindings(cluster: Cluster, namespace: str, group: str) -> list[dict[str, Any]]:
    kind = f"targetgroupbindings.{group}"
    found: list[dict[str, Any]] = cluster.get(kind, "--namespace", namespace)["items"]
    return found


def _targets(cluster: Cluster, namespace: str) -> set[tuple[str, int]]:
    return {(address, 8080) for address in _ready_addresses(cluster, namespace)}


def _healthy(cluster: Cluster, namespace: str, group: str) -> set[tuple[str, int]] | None:
    """The targets of the bindings' groups when all are healthy and all groups have the same."""
    healths = []
    for binding in _bindings(cluster, namespace, group):
        arn = binding["spec"]["targetGroupARN"]
        found = cluster.aws("elbv2", "describe-target-health", "--target-group-arn", arn)
        targets = found["TargetHealthDescriptions"]
        if any(each["TargetHealth"]["State"] != "healthy" for each in targets):
            return None
        healths.append({(each["Target"]["Id"], each["Target"]["Port"]) for each in targets})
    return healths[0] if healths and all(each == healths[0] for each in healths) else None


def _hostname(cluster: Cluster, namespace: str) -> str:
    path = "{.status.loadBalancer.ingress[0].hostname}"
    output = f"--output=jsonpath={path}"
    return cluster.kubectl("get", "ingress", "app", "--namespace", namespace, output)


def _target_groups(cluster: Cluster) -> set[str]:
    found = cluster.aws("elbv2", "describe-target-groups")["TargetGroups"]
    return {group["TargetGroupArn"] for group in found}


def _wait(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.05)
