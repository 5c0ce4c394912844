"""What EKS of moto lacks: add-ons, access entries, pod identity, and much of what a cluster is made with.

Every request of EKS is held against the model of its API, those that moto answers too. Whatever is asked for is there
at once.
"""

# ruff: noqa: N803 - parameters are called as the API calls them

from __future__ import annotations

import io
import itertools
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import botocore.session  # type: ignore[import-untyped]  # it has no types of its own
from botocore.model import OperationModel  # type: ignore[import-untyped]
from botocore.validate import validate_parameters  # type: ignore[import-untyped]

from tests.live.stacks import ACCOUNT

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
Values = dict[str, Any]

_REGION = "us-east-2"
_MODEL = botocore.session.get_session().get_service_model("eks")
# Of a cluster and of a node group: what moto forgets.
_CLUSTER = (
    "accessConfig",
    "computeConfig",
    "storageConfig",
    "upgradePolicy",
    "zonalShiftConfig",
)
_GROUP = ("nodeRepairConfig", "updateConfig")


class _MissingError(Exception):
    """Of a thing that is not there."""


@dataclass
class Clusters:
    """The stand-in, around moto's own application."""

    app: App
    asked: list[tuple[str, Values]] = field(default_factory=list)
    """Operations and their parameters, in order, but for those that only look."""
    _kept: dict[tuple[str, ...], Values] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0]
        found = _operation(environ["REQUEST_METHOD"], path)
        if not found:
            return self.app(environ, start_response)
        operation, parameters = found
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        members = operation.input_shape.members
        parameters |= {
            name: value
            for name, value in parse_qsl(environ.get("QUERY_STRING", ""))
            if name in members and members[name].type_name == "string"
        }
        parameters |= json.loads(body or b"{}")
        validate_parameters(parameters, operation.input_shape)
        if environ["REQUEST_METHOD"] != "GET":
            self.asked.append((operation.name, parameters))
        answer = getattr(self, _snake(operation.name), None)
        if answer is None:
            return self._of_moto(environ, start_response, operation.name, parameters)
        try:
            status, values, kind = "200 OK", answer(**parameters), None
        except _MissingError as missing:
            status, values = "404 Not Found", {"message": f"no {missing}"}
            kind = "ResourceNotFoundException"
        headers = [("Content-Type", "application/json")]
        start_response(status, headers + ([("x-amzn-errortype", kind)] if kind else []))
        return [json.dumps(values).encode()]

    def made(self, operation: str) -> list[Values]:
        """What was asked of an operation."""
        return [parameters for name, parameters in self.asked if name == operation]

    def _of_moto(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        operation: str,
        parameters: Values,
    ) -> Iterable[bytes]:
        cluster = parameters.get("name") or parameters.get("clusterName", "")
        if operation == "CreateCluster":
            self._kept["cluster", cluster] = _cluster(parameters)
        group = ("group", cluster, parameters.get("nodegroupName", ""))
        if operation == "CreateNodegroup":
            kept = {key: parameters[key] for key in _GROUP if key in parameters}
            # What its launch template says, moto makes up.
            self._kept[group] = {**kept, "diskSize": None, "remoteAccess": None}
        answered: list[Any] = []
        data = b"".join(self.app(environ, lambda *words: answered.extend(words)))
        status, headers = answered[:2]
        more = {
            "DescribeCluster": self._kept.get(("cluster", cluster)),
            "DescribeNodegroup": self._kept.get(group),
        }.get(operation)
        if more and status.startswith("200"):
            values = json.loads(data)
            next(iter(values.values())).update(more)
            data = json.dumps(values).encode()
            headers = [one for one in headers if one[0].lower() != "content-length"]
        start_response(status, headers)
        return [data]

    # Which versions there are.

    def describe_cluster_versions(self, **_: Any) -> Values:
        versions = {
            "1.35": "STANDARD_SUPPORT",
            "1.36": "STANDARD_SUPPORT",
            "1.31": "EXTENDED_SUPPORT",
        }
        return {
            "clusterVersions": [
                {"clusterVersion": version, "versionStatus": status}
                for version, status in versions.items()
            ]
        }

    # Changes of what moto made.

    def update_cluster_config(self, name: str, **changes: Any) -> Values:
        kept = self._of("cluster", name)
        changes.pop("clientRequestToken", None)
        for key, value in changes.items():
            kept[key] = {**kept.get(key, {}), **value}
        return _update()

    def update_cluster_version(self, name: str, version: str, **_: Any) -> Values:
        self._of("cluster", name)["version"] = version
        return _update()

    def update_nodegroup_config(
        self, clusterName: str, nodegroupName: str, **changes: Any
    ) -> Values:
        self._of("group", clusterName, nodegroupName).update(changes)
        return _update()

    def describe_update(self, **_: Any) -> Values:
        return _update()

    # Add-ons

    def create_addon(self, clusterName: str, addonName: str, **wanted: Any) -> Values:
        associations = [
            self.create_pod_identity_association(clusterName, namespace="kube-system", **one)
            for one in wanted.get("podIdentityAssociations", [])
        ]
        addon: Values = {
            "addonVersion": "v1.0.0-eksbuild.1",
            **{
                key: wanted[key] for key in ("addonVersion", "configurationValues") if key in wanted
            },
            "addonName": addonName,
            "addonArn": _arn("addon", clusterName, addonName, "1"),
            "clusterName": clusterName,
            "status": "ACTIVE",
            "health": {"issues": []},
            "tags": wanted.get("tags", {}),
            "podIdentityAssociations": [
                one["association"]["associationArn"] for one in associations
            ],
            **_times(),
        }
        self._kept["addon", clusterName, addonName] = addon
        return {"addon": addon}

    def describe_addon(self, clusterName: str, addonName: str) -> Values:
        return {"addon": self._of("addon", clusterName, addonName)}

    def update_addon(self, clusterName: str, addonName: str, **changes: Any) -> Values:
        keys = ("addonVersion", "configurationValues")
        addon = self._of("addon", clusterName, addonName)
        addon.update({key: changes[key] for key in keys if key in changes})
        return _update()

    def delete_addon(self, clusterName: str, addonName: str, **_: Any) -> Values:
        return {"addon": self._gone("addon", clusterName, addonName)}

    # Who gets in

    def create_access_entry(self, clusterName: str, principalArn: str, **wanted: Any) -> Values:
        name = principalArn.rpartition("/")[2]
        entry = {
            "kubernetesGroups": [],
            "type": "STANDARD",
            "username": principalArn,
            "tags": {},
            **wanted,
            "clusterName": clusterName,
            "principalArn": principalArn,
            "accessEntryArn": _arn("access-entry", clusterName, "role", ACCOUNT, name, "1"),
            **_times(),
        }
        self._kept["entry", clusterName, principalArn] = entry
        return {"accessEntry": entry}

    def describe_access_entry(self, clusterName: str, principalArn: str) -> Values:
        return {"accessEntry": self._of("entry", clusterName, principalArn)}

    def update_access_entry(self, clusterName: str, principalArn: str, **changes: Any) -> Values:
        entry = self._of("entry", clusterName, principalArn)
        entry.update(changes)
        return {"accessEntry": entry}

    def delete_access_entry(self, clusterName: str, principalArn: str) -> Values:
        self._gone("entry", clusterName, principalArn)
        return {}

    def associate_access_policy(
        self, clusterName: str, principalArn: str, policyArn: str, accessScope: Values
    ) -> Values:
        self._of("entry", clusterName, principalArn)
        policy = {
            "policyArn": policyArn,
            "accessScope": accessScope,
            "associatedAt": time.time(),
            "modifiedAt": time.time(),
        }
        self._kept["policy", clusterName, principalArn, policyArn] = policy
        return {
            "clusterName": clusterName,
            "principalArn": principalArn,
            "associatedAccessPolicy": policy,
        }

    def list_associated_access_policies(
        self, clusterName: str, principalArn: str, **_: Any
    ) -> Values:
        self._of("entry", clusterName, principalArn)
        return {
            "clusterName": clusterName,
            "principalArn": principalArn,
            "associatedAccessPolicies": [
                value
                for key, value in self._kept.items()
                if key[:3] == ("policy", clusterName, principalArn)
            ],
        }

    def disassociate_access_policy(
        self, clusterName: str, principalArn: str, policyArn: str
    ) -> Values:
        self._gone("policy", clusterName, principalArn, policyArn)
        return {}

    # Who pods are

    def create_pod_identity_association(self, clusterName: str, **wanted: Any) -> Values:
        ident = f"a-{next(self._numbers):017d}"
        association = {
            "namespace": wanted["namespace"],
            "serviceAccount": wanted["serviceAccount"],
            "roleArn": wanted["roleArn"],
            "tags": wanted.get("tags", {}),
            "clusterName": clusterName,
            "associationId": ident,
            "associationArn": _arn("podidentityassociation", clusterName, ident),
            **_times(),
        }
        self._kept["association", clusterName, ident] = association
        return {"association": association}

    def describe_pod_identity_association(self, clusterName: str, associationId: str) -> Values:
        return {"association": self._of("association", clusterName, associationId)}

    def list_pod_identity_associations(self, clusterName: str, **_: Any) -> Values:
        return {
            "associations": [
                value
                for key, value in self._kept.items()
                if key[:2] == ("association", clusterName)
            ]
        }

    def delete_pod_identity_association(self, clusterName: str, associationId: str) -> Values:
        return {"association": self._gone("association", clusterName, associationId)}

    def _of(self, *key: str) -> Values:
        if key not in self._kept:
            raise _MissingError(" ".join(key))
        return self._kept[key]

    def _gone(self, *key: str) -> Values:
        value = self._of(*key)
        del self._kept[key]
        return value


def _cluster(wanted: Values) -> Values:
    """What a cluster says of itself."""
    network = wanted.get("resourcesVpcConfig", {})
    return {
        **{key: wanted[key] for key in _CLUSTER if key in wanted},
        "kubernetesNetworkConfig": {
            "ipFamily": "ipv4",
            "serviceIpv4Cidr": "172.20.0.0/16",
            **wanted.get("kubernetesNetworkConfig", {}),
        },
        "resourcesVpcConfig": {
            **network,
            "clusterSecurityGroupId": "sg-0123456789abcdef0",
            "vpcId": "vpc-0123456789abcdef0",
            "publicAccessCidrs": network.get("publicAccessCidrs") or ["0.0.0.0/0"],
        },
    }


def _update() -> Values:
    return {"update": {"id": "update", "status": "Successful", "type": "ConfigUpdate"}}


def _times() -> Values:
    return {"createdAt": time.time(), "modifiedAt": time.time()}


def _arn(kind: str, *parts: str) -> str:
    return f"arn:aws:eks:{_REGION}:{ACCOUNT}:{kind}/{'/'.join(parts)}"


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _paths() -> list[tuple[str, re.Pattern[str], OperationModel, dict[str, str]]]:
    """Method and path of every operation, and what its parts are called."""
    found = []
    for name in _MODEL.operation_names:
        operation = _MODEL.operation_model(name)
        uri = operation.http["requestUri"].partition("?")[0]
        if not uri.startswith("/cluster"):
            continue
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", uri))
        shape = operation.input_shape
        parts = {
            member.serialization.get("name", key): key
            for key, member in (shape.members if shape else {}).items()
            if member.serialization.get("location") == "uri"
        }
        found.append((operation.http["method"], pattern, operation, parts))
    return found


_PATHS = _paths()


def _operation(method: str, path: str) -> tuple[OperationModel, Values] | None:
    for wanted, pattern, operation, parts in _PATHS:
        if wanted == method and (match := pattern.fullmatch(path)):
            return operation, {
                parts[name]: unquote(value) for name, value in match.groupdict().items()
            }
    return None
