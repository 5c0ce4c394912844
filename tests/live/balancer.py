"""Stands in for the controller of load balancers: Ingresses to balancers, and pods to targets.

    python -m tests.live.balancer   until it is killed; $KUBECONFIG names the cluster, AWS_* a
                                    stand-in for AWS

An Ingress has one load balancer, with a rule for each path; its status tells the balancer's name.
For each Service that it sends to there is a target group and a TargetGroupBinding that names it. The
targets of a group are the ready pods of the binding's Service. No balancer takes requests: what AWS
is asked is what it was told, not what comes of it. Every balancer listens on port 80 alone, whatever
the Ingress says of ports and certificates.
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

_NETWORKING = "/apis/networking.k8s.io/v1"
_INGRESSES = f"{_NETWORKING}/ingresses"
_CLASSES = f"{_NETWORKING}/ingressclasses"
_SERVICES = "/api/v1/services"
_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"

# The controller that EKS runs for one has its own group; who runs one himself has the other.
_AUTO_MODE = "eks.amazonaws.com/alb"
_GROUPS = {True: "/apis/eks.amazonaws.com/v1", False: "/apis/elbv2.k8s.aws/v1beta1"}
_ACTIONS = "alb.ingress.kubernetes.io/actions."
# On what is ours: bindings that others made are served, but not deleted.
_OWNER = "ingress.k8s.aws/stack-name"
_PREFIX = "k8s-"
_NOT_FOUND = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}


class Controller:
    """Makes true what the cluster wants. It keeps no state: each time it looks at all there is."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._balancing = boto3.client("elbv2")
        self._networks = boto3.client("ec2")

    def reconcile(self) -> None:
        ingresses = self._api.list(_INGRESSES)
        wanted = {_name(binding): binding for binding in self._wanted(ingresses)}
        groups = self._target_groups(wanted.keys())
        self._balance(ingresses, groups)
        # Not sooner: AWS keeps a group for as long as a rule sends to it.
        for name in groups.keys() - wanted.keys():
            self._balancing.delete_target_group(TargetGroupArn=groups[name])
        for binding in wanted.values():
            binding["spec"]["targetGroupARN"] = groups[_name(binding)]
        self._bind(wanted)
        services = {_key(service): service for service in self._api.list(_SERVICES)}
        slices = self._api.list(_SLICES)
        for group in _GROUPS.values():
            for binding in self._api.list(f"{group}/targetgroupbindings"):
                self._register(binding, services, slices)

    def _wanted(self, ingresses: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The bindings that there should be, still without target groups."""
        classes = {item["metadata"]["name"]: item["spec"] for item in self._api.list(_CLASSES)}
        for ingress in ingresses:
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
        """The ARN of a target group for each name, and of those that nobody wants any more."""
        found = {
            group["TargetGroupName"]: group["TargetGroupArn"]
            for page in self._balancing.get_paginator("describe_target_groups").paginate()
            for group in page["TargetGroups"]
            if group["TargetGroupName"].startswith(_PREFIX)
        }
        for name in names - found.keys():
            network = self._subnets()[0]["VpcId"]
            made = self._balancing.create_target_group(
                Name=name, Protocol="HTTP", Port=80, VpcId=network, TargetType="ip"
            )
            found[name] = made["TargetGroups"][0]["TargetGroupArn"]
        return found

    def _subnets(self) -> list[dict[str, Any]]:
        """One for each zone, of the network that is there from the beginning."""
        default = {"Name": "default-for-az", "Values": ["true"]}
        found: list[dict[str, Any]] = self._networks.describe_subnets(Filters=[default])["Subnets"]
        return found

    def _balance(self, ingresses: list[dict[str, Any]], groups: dict[str, str]) -> None:
        """A balancer for each Ingress; those of which the Ingress is gone go."""
        wanted = {_hash(*_key(ingress)): ingress for ingress in ingresses}
        found = {
            balancer["LoadBalancerName"]: balancer
            for page in self._balancing.get_paginator("describe_load_balancers").paginate()
            for balancer in page["LoadBalancers"]
            if balancer["LoadBalancerName"].startswith(_PREFIX)
        }
        for name in found.keys() - wanted.keys():
            self._balancing.delete_load_balancer(LoadBalancerArn=found[name]["LoadBalancerArn"])
        for name, ingress in wanted.items():
            balancer = found.get(name) or self._new_balancer(name)
            listener = self._listener(balancer["LoadBalancerArn"])
            self._direct(listener, list(_rules(ingress, groups)))
            self._announce(ingress, balancer["DNSName"])

    def _new_balancer(self, name: str) -> dict[str, Any]:
        subnets = [subnet["SubnetId"] for subnet in self._subnets()]
        made = self._balancing.create_load_balancer(Name=name, Type="application", Subnets=subnets)
        balancer: dict[str, Any] = made["LoadBalancers"][0]
        return balancer

    def _listener(self, balancer: str) -> str:
        """The one listener of a balancer."""
        found = self._balancing.describe_listeners(LoadBalancerArn=balancer)["Listeners"]
        if not found:
            found = self._balancing.create_listener(
                LoadBalancerArn=balancer, Protocol="HTTP", Port=80, DefaultActions=[_NOT_FOUND]
            )["Listeners"]
        listener: str = found[0]["ListenerArn"]
        return listener

    def _direct(self, listener: str, wanted: list[dict[str, Any]]) -> None:
        """Give a listener its rules, the first path first."""
        there = {
            rule["Priority"]: rule
            for page in self._balancing.get_paginator("describe_rules").paginate(
                ListenerArn=listener
            )
            for rule in page["Rules"]
            if not rule["IsDefault"]
        }
        for priority, rule in enumerate(wanted, start=1):
            old = there.pop(str(priority), None)
            # A rule with other groups is made anew: the stand-in for AWS learns which groups a
            # balancer has when a rule is made, not when it is changed.
            if old and _ways(old) == _ways(rule):
                if old["Actions"] != rule["Actions"]:
                    self._balancing.modify_rule(RuleArn=old["RuleArn"], Actions=rule["Actions"])
                continue
            if old:
                self._balancing.delete_rule(RuleArn=old["RuleArn"])
            self._balancing.create_rule(ListenerArn=listener, Priority=priority, **rule)
        for rule in there.values():
            self._balancing.delete_rule(RuleArn=rule["RuleArn"])

    def _announce(self, ingress: dict[str, Any], hostname: str) -> None:
        balancer = {"ingress": [{"hostname": hostname}]}
        if ingress.get("status", {}).get("loadBalancer") != balancer:
            namespace, name = _key(ingress)
            path = f"{_NETWORKING}/namespaces/{namespace}/ingresses/{name}/status"
            status = {"status": {"loadBalancer": balancer}}
            self._attempt("PATCH", path, status, "application/merge-patch+json")

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

    def _attempt(
        self, method: str, path: str, body: Any = None, content: str = "application/json"
    ) -> None:
        """A namespace that ends takes nothing new, and what it had may be gone already."""
        try:
            self._api.call(method, path, body, content)
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


def _paths(ingress: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Host, if any, and path, of each path of an Ingress."""
    for rule in ingress["spec"].get("rules", []):
        yield from ((rule.get("host", ""), path) for path in rule["http"]["paths"])


def _backends(ingress: dict[str, Any]) -> set[tuple[str, int | str]]:
    """The Services and their ports that an Ingress sends to, actions in annotations included."""
    return {
        (service, port)
        for _, path in _paths(ingress)
        for service, port, _ in _shares(ingress, path["backend"]["service"])
    }


def _shares(
    ingress: dict[str, Any], backend: dict[str, Any]
) -> Iterator[tuple[str, int | str, int]]:
    """The Services, their ports and their weights behind a path; none where an action answers."""
    if not _is_action(backend):
        yield backend["name"], backend["port"].get("number") or backend["port"]["name"], 1
        return
    configuration = _annotated(ingress, backend).get("forwardConfig", {})
    for group in configuration.get("targetGroups", []):
        port = str(group["servicePort"])
        yield group["serviceName"], int(port) if port.isdigit() else port, group.get("weight", 1)


def _is_action(backend: dict[str, Any]) -> bool:
    return bool(backend["port"].get("name") == "use-annotation")


def _annotated(ingress: dict[str, Any], backend: dict[str, Any]) -> dict[str, Any]:
    action: dict[str, Any] = json.loads(
        ingress["metadata"]["annotations"][_ACTIONS + backend["name"]]
    )
    return action


def _rules(ingress: dict[str, Any], groups: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The rule of each path, in the words of AWS."""
    for host, path in _paths(ingress):
        patterns = {"PathPatternConfig": {"Values": _patterns(path)}}
        conditions: list[dict[str, Any]] = [{"Field": "path-pattern", **patterns}]
        if host:
            conditions.append({"Field": "host-header", "HostHeaderConfig": {"Values": [host]}})
        action = _action(ingress, path["backend"]["service"], groups)
        yield {"Conditions": conditions, "Actions": [action]}


def _patterns(path: dict[str, Any]) -> list[str]:
    if path["pathType"] != "Prefix":
        return [path["path"]]
    folder = path["path"].rstrip("/")
    return [folder, f"{folder}/*"] if folder else ["/*"]


def _action(
    ingress: dict[str, Any], backend: dict[str, Any], groups: dict[str, str]
) -> dict[str, Any]:
    """With all that AWS adds to it, so that it can be compared with what AWS tells."""
    if _is_action(backend) and _annotated(ingress, backend)["type"] == "fixed-response":
        answer = _annotated(ingress, backend)["fixedResponseConfig"]
        words = {f"{key[0].upper()}{key[1:]}": value for key, value in answer.items()}
        return {"Type": "fixed-response", "FixedResponseConfig": words}
    targets = [
        {"TargetGroupArn": groups[_binding_name(ingress, service, port)], "Weight": weight}
        for service, port, weight in _shares(ingress, backend)
    ]
    configuration = {
        "TargetGroups": targets,
        "TargetGroupStickinessConfig": {"Enabled": False},
    }
    return {"Type": "forward", "ForwardConfig": configuration}


def _ways(rule: dict[str, Any]) -> Any:
    """What a rule matches and which groups it sends to, whatever their weights."""
    forwards = [action.get("ForwardConfig", {}) for action in rule["Actions"]]
    groups = [
        {group["TargetGroupArn"] for group in one.get("TargetGroups", [])} for one in forwards
    ]
    return rule["Conditions"], groups


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
    return _hash(*_key(ingress), service, str(port))


def _hash(*identity: str) -> str:
    return _PREFIX + hashlib.sha256("/".join(identity).encode()).hexdigest()[:20]


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
