"""Releases of virtual machines by two groups that take turns, against the same stand-ins as test_vm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import tofu, tools
from tests.live.refreshes import stand_in
from tests.live.stacks import ACCOUNT, moto
from tests.live.test_vm import Cloud

_SPEC = f"""\
gen: 1
name: sample-app
targets: vm
account: "{ACCOUNT}"
config: {{GREETING: Hello}}
rollout: {{strategy: blue_green, bake: 1s}}
environments:
  stage: {{scale: {{min: 1, max: 2}}, rollback: {{automatic: false}}}}
  prod: {{scale: {{min: 2, max: 6}}}}
"""
_GROUP = "sample-app-prod-vm"


class Colors(Cloud):
    """What the two groups and the balancer are at."""

    def sizes(self, environment: str = "prod") -> dict[str, int]:
        """How many instances each color has."""
        groups = self.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
        name = f"sample-app-{environment}-vm-"
        return {
            one["AutoScalingGroupName"].removeprefix(name): len(one["Instances"])
            for one in groups
            if one["AutoScalingGroupName"].startswith(name)
        }

    def gets_requests(self, environment: str = "prod") -> str:
        """The color that the balancer sends all requests to."""
        balancers = self.client("elbv2")
        (balancer,) = balancers.describe_load_balancers(Names=[f"sample-app-{environment}-vm"])[
            "LoadBalancers"
        ]
        names = {
            one["TargetGroupArn"]: one["TargetGroupName"]
            for one in balancers.describe_target_groups(
                LoadBalancerArn=balancer["LoadBalancerArn"]
            )["TargetGroups"]
        }
        (listener,) = balancers.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])[
            "Listeners"
        ]
        forward = listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]
        weights = {names[one["TargetGroupArn"]]: one["Weight"] for one in forward}
        assert sorted(weights.values()) == [0, 100], weights
        (serving,) = [name for name, weight in weights.items() if weight == 100]
        return next(color for color in ("blue", "green") if color in serving)

    def image_of(self, color: str) -> str:
        """The image of the template version that a group starts instances from."""
        (group,) = self.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[f"{_GROUP}-{color}"]
        )["AutoScalingGroups"]
        template = group["LaunchTemplate"]
        (version,) = self.client("ec2").describe_launch_template_versions(
            LaunchTemplateId=template["LaunchTemplateId"], Versions=[template["Version"]]
        )["LaunchTemplateVersions"]
        found: str = version["LaunchTemplateData"]["ImageId"]
        return found


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Colors]:
    """Each test finds what the one before has left."""
    tools.need("aws")
    folder = tmp_path_factory.mktemp("colors")
    with (
        pytest.MonkeyPatch.context() as patch,
        moto() as environment,
        tofu.provider(environment) as attached,
    ):
        yield Colors(folder, {**environment, **attached}, stand_in(patch), _SPEC)


def _well(done: Any) -> None:
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_release(cloud: Colors) -> None:
    """It is blue, and there is no green yet. It counts, though its name is not known yet where one deploys."""
    early = cloud.make("rollback-vm", "ENV=prod")
    assert early.returncode != 0
    assert "there is no release to go back to in prod" in early.stderr
    first = cloud.image("v1")
    cloud.answer.write_text("000")

    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v1")

    cloud.answer.write_text("200")
    assert done.returncode != 0
    assert "v1 is healthy in prod, and noted in releases/prod/vm.yml" in done.stderr
    assert cloud.sizes() == {"blue": 2}
    assert cloud.gets_requests() == "blue"
    assert cloud.image_of("blue") == first
    assert cloud.served() == [["v1", first, "blue"]]
    assert cloud.drift("prod/asg") == {}


def test_a_release_takes_over(cloud: Colors) -> None:
    """As many instances as serve, then all requests; the color that was left sleeps."""
    second = cloud.image("v2")
    cloud.client("autoscaling").set_desired_capacity(
        AutoScalingGroupName=f"{_GROUP}-blue", DesiredCapacity=4
    )

    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v2")

    _well(done)
    assert "waiting until 4 instances are healthy" in done.stdout
    assert cloud.sizes() == {"blue": 0, "green": 4}
    assert cloud.gets_requests() == "green"
    assert cloud.image_of("green") == second
    assert cloud.record()["version"] == "v2"
    assert [words[2] for words in cloud.served()] == ["blue", "green"]
    assert cloud.drift("prod/asg") == {}


def test_a_release_that_fails_is_taken_back(cloud: Colors) -> None:
    """The color that served never slept, and serves again; the one before can still be gone back to."""
    before = cloud.record()
    cloud.image("v3")
    cloud.answer.write_text("502")

    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v3")

    cloud.answer.write_text("200")
    assert done.returncode != 0
    assert "going back to green" in done.stderr
    assert cloud.record() == before
    assert cloud.gets_requests() == "green"
    assert cloud.sizes() == {"blue": 0, "green": 4}
    assert cloud.drift("prod/asg") == {}


@pytest.mark.long
def test_an_alarm_while_it_is_watched(cloud: Colors) -> None:
    """Ends a release; one that rings before it begins leaves all as it is."""
    before = cloud.record()
    rings = {"RINGS": str(cloud.project.parent / "rings")}

    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v3", env=rings)
    early = cloud.make("deploy-vm", "ENV=prod", "VERSION=v3", env=rings)

    assert done.returncode != 0
    assert "an alarm rings: the-alarm" in done.stderr
    assert "v3 failed in prod; what ran before serves" in done.stderr
    assert "an alarm rings in prod already, and nothing was changed: the-alarm" in early.stderr
    assert cloud.record() == before
    assert cloud.gets_requests() == "green"


def test_the_way_back(cloud: Colors) -> None:
    """The color that sleeps wakes with its own image and config, and a second time returns."""
    first = cloud.served()[0][1]
    refused = cloud.make("rollback-vm", "ENV=prod", "TO=v0")
    assert "prod keeps v1 alone to go back to" in refused.stderr
    config = cloud.project / "tofu/live/prod/asg/config.env"
    config.write_text(config.read_text().replace("Hello", "Good morning"))

    _well(cloud.make("rollback-vm", "ENV=prod"))

    assert cloud.gets_requests() == "blue"
    assert cloud.image_of("blue") == first
    assert cloud.sizes() == {"blue": 4, "green": 0}
    assert cloud.record()["version"] == "v1"
    _well(cloud.make("rollback-vm", "ENV=prod"))
    assert cloud.gets_requests() == "green"
    config.write_text(config.read_text().replace("Good morning", "Hello"))


@pytest.mark.long
def test_what_broke_off_is_taken_back(cloud: Colors) -> None:
    """A release whose machine died leaves both awake: no other begins, and a rollback ends it."""
    record = cloud.project / "releases/prod/vm.yml"
    before = record.read_text()
    cloud.image("v4")
    done = cloud.make(
        "deploy-vm", "ENV=prod", "VERSION=v4", env={"FAILS": "update-auto-scaling-group"}
    )
    assert done.returncode != 0
    assert cloud.record()["version"] == "v2"
    # As if it had died after the requests had moved.
    text = record.read_text()
    blue = next(line for line in text.splitlines() if line.startswith("blue: "))
    record.write_text(
        text.replace(blue, blue.replace("asleep", "2")).replace('serves: "green"', 'serves: "blue"')
    )
    cloud.run("prod/asg", "apply", "-input=false", "-auto-approve")

    refused = cloud.make("deploy-vm", "ENV=prod", "VERSION=v4")
    back = cloud.make("rollback-vm", "ENV=prod")

    assert refused.returncode != 0
    assert "make rollback-vm ENV=prod" in refused.stderr
    _well(back)
    assert cloud.gets_requests() == "green"
    assert cloud.sizes()["blue"] == 0
    assert record.read_text() == before


def test_a_record_of_something_else(cloud: Colors) -> None:
    """One that is not what was applied last begins nothing."""
    record = cloud.project / "releases/prod/vm.yml"
    kept = record.read_text()
    record.write_text(kept.replace('serves: "green"', 'serves: "blue"'))

    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v3")

    record.write_text(kept)
    assert done.returncode != 0
    assert "is not what was applied last" in done.stderr


@pytest.mark.long
def test_one_that_stays(cloud: Colors) -> None:
    """Where rollback.automatic is false a failed release stays, and a rollback returns."""
    cloud.image("v5")
    _well(cloud.make("promote-vm", "ENV=stage", "FROM=prod"))
    served = cloud.gets_requests("stage")
    cloud.answer.write_text("502")

    failed = cloud.make("deploy-vm", "ENV=stage", "VERSION=v5")

    cloud.answer.write_text("200")
    assert "may still be there: make rollback-vm ENV=stage" in failed.stderr
    assert cloud.gets_requests("stage") != served
    _well(cloud.make("rollback-vm", "ENV=stage"))
    assert cloud.gets_requests("stage") == served
    assert sorted(cloud.sizes("stage").values()) == [0, 1]


def test_another_strategy(cloud: Colors) -> None:
    """It would remove what serves before its own does: refused."""
    record = cloud.project / "releases/prod/vm.yml"
    before = record.read_text()
    words = ("serves", "blue", "green")
    lines = [line for line in before.splitlines() if not line.startswith(words)]
    record.write_text("\n".join(lines) + "\n")

    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v3")

    record.write_text(before)
    assert done.returncode != 0
    assert (
        "prod has one group of instances, which the strategy blue_green would remove" in done.stderr
    )


def test_nothing_is_left(cloud: Colors) -> None:
    confirmed = {f"TF_CLI_ARGS_{verb}": "-auto-approve" for verb in ("apply", "destroy")}
    for name in ("stage", "prod") if cloud.sizes("stage") else ("prod",):
        _well(cloud.make("destroy-vm", f"ENV={name}", env=confirmed))
    assert not cloud.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert not cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
