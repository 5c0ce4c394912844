"""A project whose Makefile makes stacks, and the stand-in for AWS in which it makes them."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import boto3  # type: ignore[import-untyped]  # it has no types of its own
import pytest
from moto.core.config import default_user_config
from moto.core.types import Base64EncodedString
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateBackend
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from tests import tofu

# Before any account of moto is opened: roles get policies of AWS's own.
default_user_config["iam"]["load_aws_managed_policies"] = True

ACCOUNT = "123456789012"
"""Whose credentials all are, to moto."""

_FORGOTTEN = {
    "aws_autoscaling_group": {
        "capacity_reservation_specification",
        "default_instance_warmup",
        "instance_maintenance_policy",
    },
    "aws_autoscaling_lifecycle_hook": {"notification_target_arn", "role_arn"},
    "aws_autoscaling_policy": {"enabled", "predictive_scaling_configuration"},
    "aws_vpc_security_group_egress_rule": {"description"},
    "aws_vpc_security_group_ingress_rule": {"description"},
}
"""What moto does not keep, or makes up, so that a second plan would set it again."""


@contextmanager
def moto(around: Callable[[Any], Any] = lambda app: app) -> Iterator[dict[str, str]]:
    """A moto server in this process, with what is put around it; gives the environment by which it is reached.

    At the end it forgets all: accounts are of the process, not of the server.
    """
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    app = around(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.port}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LaunchTemplateBackend, "create_launch_template", _template)
            patch.setattr(LaunchTemplate, "create_version", _version)
            yield {
                "AWS_ENDPOINT_URL": address,
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-2",
                # What fails in a stand-in fails again: said, and not tried for minutes.
                "AWS_MAX_ATTEMPTS": "3",
            }
    finally:
        forget = Request(f"{address}/moto-api/reset", method="POST")  # noqa: S310 - its own
        urlopen(forget).close()  # noqa: S310
        server.shutdown()
        server.server_close()
        thread.join()


_create_template = LaunchTemplateBackend.create_launch_template


def _template(self: Any, name: str, description: str, data: dict[str, Any], tags: Any) -> Any:
    """Of moto, but for a template's own tags: they are not those of what it launches."""
    wanted = [
        one for one in data.get("TagSpecifications", []) if one["ResourceType"] != "launch-template"
    ]
    return _create_template(self, name, description, {**data, "TagSpecifications": wanted}, tags)


_create_version = LaunchTemplate.create_version


def _version(self: Any, data: dict[str, Any], description: str) -> Any:
    """Of moto, which cannot start an instance from the user data of a second version as it keeps it."""
    if isinstance(user_data := data.get("UserData"), str):
        data = {**data, "UserData": Base64EncodedString(user_data)}
    return _create_version(self, data, description)


class Stacks:
    """A generated project, and the account that its Makefile talks to."""

    def __init__(self, project: Path, program: str, environment: dict[str, str]) -> None:
        self.project = project
        self.program = str(tofu.need(program))
        self.environment = environment

    def make(
        self, *words: str, answer: str = "yes\n", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Type a goal of the Makefile, and what it asks for."""
        return subprocess.run(
            ["make", "--no-print-directory", f"TOFU={self.program}", *words],
            cwd=self.project,
            env={
                **tofu.environment(),
                "TF_CLI_ARGS": "-no-color",
                **self.environment,
                **(env or {}),
            },
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, stack: str, *arguments: str, check: bool = True) -> str:
        """What a command says in the folder of a stack, such as `prod/asg`."""
        folder = self.project / "tofu/live" / stack
        done = tofu.run(self.program, folder, *arguments, env=self.environment, check=check)
        return done.stdout

    def drift(self, stack: str) -> dict[str, list[str]]:
        """What an apply would change, by address, but for what moto forgets."""
        self.run(stack, "plan", "-out=drift.tfplan")
        plan = json.loads(self.run(stack, "show", "-json", "drift.tfplan"))
        (self.project / "tofu/live" / stack / "drift.tfplan").unlink()
        found = {
            change["address"]: _changed(change["type"], change["change"])
            for change in plan.get("resource_changes", [])
            if change["change"]["actions"] not in (["no-op"], ["read"])
        }
        return {address: keys for address, keys in found.items() if keys}

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            region_name=self.environment["AWS_REGION"],
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 # moto takes any
        )


def _changed(kind: str, change: dict[str, Any]) -> list[str]:
    before, after = change["before"] or {}, change["after"] or {}
    unknown = [key for key, value in (change.get("after_unknown") or {}).items() if value is True]
    # What AWS will say is not known before any change, also one of those that do not count.
    keys = {key for key in {*before, *after} - {*unknown} if before.get(key) != after.get(key)}
    if change["actions"] != ["update"]:
        return ["/".join(change["actions"])]
    return sorted(keys - _FORGOTTEN.get(kind, set()))
