"""Stands in for the controller of load balancers: Ingresses to target groups and their targets.

    python -m tests.live.balancer   until it is killed; $KUBECONFIG names the cluster, AWS_* a
                                    stand-in for AWS

For each Service that an Ingress sends to there is a target group and a TargetGroupBinding that
names it. The targets of a group are the ready pods of the binding's Service. There is no load
balancer: nothing is asked of one.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types of its own

from tests.live.kube import Api, RefusedError

_INGRESSES = "/apis/networking.k8s.io/v1/ingresses"
_CLASSES = "/apis/networking.k8s.io/v1/ingressclasses"
_SERVICES = "/api/v1/services"
_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"

# The controller that EKS runs for one has its own group; who runs one himself has the other.
_AUTO_MODE = "eks.amazonaws.com/alb"
_GROUPS = {True: "/apis/eks.amazonaws.com/v1", False: "/apis/elbv2.k8s.aws/v1beta1"}
_ACTIONS = "alb.ingress.kubernetes.io/actions."
# On what is ours: bindings that others made are served, but not deleted.
_OWNER = "ingress.k8s.aws/stack-name"
_PREFIX = "k8s-"


class Controller:
    """Makes true what the cluster wants. It keeps no state: each time it looks at all there is."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._balancing = boto3.client("elbv2")
        self._networks = boto3.client("ec2")

    def reconcile(self) -> None:
        wanted = {_name(binding): binding for binding in self._wanted()}
        groups = self._target_groups(wanted.keys())
        for binding in wanted.values():
            binding["spec"]["targetGroupARN"] = groups[_name(binding)]
        self._bind(wanted)
        services = {_key(service): service for service in self._api.list(_SERVICES)}
        slices = self._api.list(_SLICES)
        for group in _GROUPS.values():
            for binding in self._api.list(f"{group}/targetgroupbindings"):
                self._register(binding, services, slices)

    def _wanted(self) -> Iterator[dict[str, Any]]:
        """The bindings that there should be, still without target groups."""
        classes = {item["metadata"]["name"]: item["spec"] for item in self._api.list(_CLASSES)}
        for ingress in self._api.list(_INGRESSES):
            used = classes.get(ingress["spec"].get("ingressClassName", ""), {})
            for service, port in _backends(ingress):
                yield {
                    "apiVersion": _version(used.get("controller") == _AUTO_MODE),
                    "kind": "TargetGroupBinding",
                    "metadata": {
                        "namespace": ingress["metadata"]["namespace"],
                        "name": _binding_name(ingress, service, port),
                        "labels": {_OWNER: ingress["metadata"]["name"]},
                    },
                    "spec": {"targetType": "ip", "serviceRef": {"name": service, "port": port}},
                }

    def _target_groups(self, names: Any) -> dict[str, str]:
        """The ARN of a target group for each name; those that nobody wants any more go."""
        found = {
            group["TargetGroupName"]: group["TargetGroupArn"]
            for page in self._balancing.get_paginator("describe_target_groups").paginate()
            for group in page["TargetGroups"]
            if group["TargetGroupName"].startswith(_PREFIX)
        }
        for name in found.keys() - names:
            self._balancing.delete_target_group(TargetGroupArn=found.pop(name))
        for name in names - found.keys():
            network = self._networks.describe_vpcs()["Vpcs"][0]["VpcId"]
            made = self._balancing.create_target_group(
                Name=name, Protocol="HTTP", Port=80, VpcId=network, TargetType="ip"
            )
            found[name] = made["TargetGroups"][0]["TargetGroupArn"]
        return found

    def _bind(self, wanted: dict[str, dict[str, Any]]) -> None:
        for group in _GROUPS.values():
            there = {
                _name(binding): binding
                for binding in self._api.list(f"{group}/targetgroupbindings")
                if _OWNER in binding["metadata"].get("labels", {})
            }
            ours = {
                name: binding
                for name, binding in wanted.items()
                if group.endswith(binding["apiVersion"])
            }
            for name, binding in there.items():
                if name not in ours or binding["spec"] != ours[name]["spec"]:
                    self._attempt("DELETE", f"{_folder(group, binding)}/{_key(binding)[1]}")
            for name, binding in ours.items():
                if name not in there or there[name]["spec"] != binding["spec"]:
                    self._attempt("POST", _folder(group, binding), binding)

    def _attempt(self, method: str, path: str, body: Any = None) -> None:
        """A namespace that ends takes nothing new, and what it had may be gone already."""
        try:
            self._api.call(method, path, body)
        except RefusedError as problem:
            if problem.status not in {403, 404, 409}:
                raise

    def _register(
        self,
        binding: dict[str, Any],
        services: dict[tuple[str, str], Any],
        slices: list[dict[str, Any]],
    ) -> None:
        group = {"TargetGroupArn": binding["spec"]["targetGroupARN"]}
        namespace, reference = binding["metadata"]["namespace"], binding["spec"]["serviceRef"]
        service = services.get((namespace, reference["name"]))
        ready = set(_ready(service, reference["port"], slices)) if service else set()
        try:
            health = self._balancing.describe_target_health(**group)["TargetHealthDescriptions"]
        except self._balancing.exceptions.TargetGroupNotFoundException:
            return  # somebody's binding to a group that is not there
        there = {(each["Target"]["Id"], each["Target"]["Port"]) for each in health}
        # The stand-in for AWS knows a target by its address alone, so the old ones go first.
        if gone := there - ready:
            self._balancing.deregister_targets(**group, Targets=_targets(gone))
        if new := ready - there:
            self._balancing.register_targets(**group, Targets=_targets(new))


def _backends(ingress: dict[str, Any]) -> set[tuple[str, int | str]]:
    """The Services and their ports that an Ingress sends to, actions in annotations included."""
    spec = ingress["spec"]
    paths = [path for rule in spec.get("rules", []) for path in rule.get("http", {})["paths"]]
    backends = [path["backend"] for path in paths]
    backends += [spec["defaultBackend"]] if "defaultBackend" in spec else []
    found: set[tuple[str, int | str]] = set()
    for backend in backends:
        service = backend.get("service", {})
        port = service.get("port", {})
        if port.get("name") == "use-annotation":
            found.update(_forwards(ingress, service["name"]))
        elif service:
            found.add((service["name"], port.get("number") or port["name"]))
    return found


def _forwards(ingress: dict[str, Any], action: str) -> Iterator[tuple[str, int | str]]:
    text = ingress["metadata"].get("annotations", {}).get(_ACTIONS + action, "{}")
    configuration = json.loads(text).get("forwardConfig", {})
    for group in configuration.get("targetGroups", []):
        if "serviceName" in group:
            port = str(group["servicePort"])
            yield group["serviceName"], int(port) if port.isdigit() else port


def _ready(
    service: dict[str, Any], port: int | str, slices: list[dict[str, Any]]
) -> Iterator[tuple[str, int]]:
    """Address and port of each ready pod of a Service."""
    names = {
        each.get("name", "")
        for each in service["spec"].get("ports", [])
        if port in {each["port"], each.get("name")}
    }
    namespace, name = _key(service)
    for part in slices:
        metadata = part["metadata"]
        of_service = metadata.get("labels", {}).get("kubernetes.io/service-name")
        if (metadata["namespace"], of_service) != (namespace, name):
            continue
        for open_port in part.get("ports") or []:
            if open_port.get("name", "") in names:
                for endpoint in part.get("endpoints") or []:
                    if endpoint.get("conditions", {}).get("ready"):
                        yield from ((ip, open_port["port"]) for ip in endpoint["addresses"])


def _targets(pairs: set[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"Id": address, "Port": port} for address, port in sorted(pairs)]


def _binding_name(ingress: dict[str, Any], service: str, port: int | str) -> str:
    """Of a binding and of its target group, which may have 32 characters."""
    identity = "/".join((*_key(ingress), service, str(port)))
    return _PREFIX + hashlib.sha256(identity.encode()).hexdigest()[:20]


def _version(is_auto_mode: bool) -> str:
    return _GROUPS[is_auto_mode].removeprefix("/apis/")


def _folder(group: str, binding: dict[str, Any]) -> str:
    return f"{group}/namespaces/{binding['metadata']['namespace']}/targetgroupbindings"


def _key(item: dict[str, Any]) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _name(item: dict[str, Any]) -> str:
    name: str = item["metadata"]["name"]
    return name


def main() -> None:
    api = Api.of_environment()
    changed = threading.Event()

    def follow(path: str) -> None:
        for _ in api.follow(path):
            changed.set()

    for path in (_INGRESSES, _CLASSES, _SERVICES, _SLICES):
        threading.Thread(target=follow, args=(path,), daemon=True).start()
    controller = Controller(api)
    while True:
        # Also without a change: a test may empty the stand-in for AWS.
        changed.wait(timeout=2)
        changed.clear()
        try:
            controller.reconcile()
        except Exception as problem:
            print(f"will try again: {problem!r}", flush=True)  # noqa: T201 # into the log
            changed.set()
            time.sleep(0.2)


if __name__ == "__main__":
    main()
