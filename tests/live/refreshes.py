"""What auto scaling of moto lacks: instance refreshes, which follow the model of the API and go as a test says."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from moto.autoscaling.models import autoscaling_backends
from moto.autoscaling.responses import AutoScalingResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult

_OVER = {"Successful", "Failed", "Cancelled", "RollbackSuccessful", "RollbackFailed"}


class _InProgressError(ServiceException):
    code = "InstanceRefreshInProgress"


class _NoneActiveError(ServiceException):
    code = "ActiveInstanceRefreshNotFound"


@dataclass
class Refreshes:
    """What was asked for, and how the next refresh goes on: each time it is asked about, a step further."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    goes: tuple[str, ...] = ("Pending", "InProgress", "Baking", "Successful")
    _known: dict[str, list[_Refresh]] = field(default_factory=dict)

    def start(self, backend: Any, parameters: dict[str, Any]) -> ActionResult:
        name = parameters["AutoScalingGroupName"]
        mine = self._known.setdefault(name, [])
        if mine and mine[0].status not in _OVER:
            raise _InProgressError("An Instance Refresh is already in progress")
        self.asked.append(parameters)
        steps = itertools.chain(self.goes, itertools.repeat(self.goes[-1]))
        mine.insert(0, _Refresh(backend.autoscaling_groups[name], parameters, steps))
        return ActionResult({"InstanceRefreshId": mine[0].id})

    def describe(self, parameters: dict[str, Any]) -> ActionResult:
        mine = self._known.get(parameters["AutoScalingGroupName"], [])
        if mine:
            mine[0].go_on()
        wanted = parameters.get("InstanceRefreshIds") or [one.id for one in mine]
        shown = [one.described for one in mine if one.id in wanted]
        return ActionResult({"InstanceRefreshes": shown})

    def roll_back(self, parameters: dict[str, Any]) -> ActionResult:
        mine = self._known.get(parameters["AutoScalingGroupName"], [])
        if not mine or mine[0].status in _OVER:
            raise _NoneActiveError("No active instance refresh to roll back")
        mine[0].steps = itertools.chain(
            ["RollbackInProgress"], itertools.repeat("RollbackSuccessful")
        )
        return ActionResult({"InstanceRefreshId": mine[0].id})


class _Refresh:
    def __init__(self, group: Any, parameters: dict[str, Any], steps: Any) -> None:
        self.group, self.parameters, self.steps = group, parameters, steps
        self.id = f"refresh-{id(self)}"
        self.status = "Pending"

    def go_on(self) -> None:
        if self.status in _OVER:
            return
        self.status = next(self.steps)
        if self.status == "Successful":
            version = self.parameters["DesiredConfiguration"]["LaunchTemplate"]["Version"]
            self.group.launch_template_version = version
            self.group.provided_launch_template_version = version

    @property
    def described(self) -> dict[str, Any]:
        return {
            "InstanceRefreshId": self.id,
            "AutoScalingGroupName": self.group.name,
            "Status": self.status,
            "StatusReason": "because the test says so",
            "StartTime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            "PercentageComplete": 100 if self.status == "Successful" else 40,
            "DesiredConfiguration": self.parameters["DesiredConfiguration"],
            "Preferences": self.parameters["Preferences"],
        }


def stand_in(patch: pytest.MonkeyPatch) -> Refreshes:
    """Let every moto of this process know them."""
    refreshes = Refreshes()

    def start(self: Any) -> ActionResult:
        backend = autoscaling_backends[self.current_account][self.region]
        return refreshes.start(backend, self._get_params())

    def describe(self: Any) -> ActionResult:
        return refreshes.describe(self._get_params())

    def roll_back(self: Any) -> ActionResult:
        return refreshes.roll_back(self._get_params())

    patch.setattr(AutoScalingResponse, "start_instance_refresh", start, raising=False)
    patch.setattr(AutoScalingResponse, "describe_instance_refreshes", describe, raising=False)
    patch.setattr(AutoScalingResponse, "rollback_instance_refresh", roll_back, raising=False)
    return refreshes
