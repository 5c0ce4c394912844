"""Releases of the VM approach: OpenTofu, the AWS CLI and the release script against a stand-in for AWS.

moto knows what exists, and tests/live/refreshes.py how a refresh goes; no instance runs. What a load
balancer answers, a stand-in of curl says.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto.ec2.models import ec2_backends

from tests import tofu, tools
from tests.live.project import new_project
from tests.live.refreshes import Refreshes, stand_in
from tests.live.stacks import ACCOUNT, Stacks, moto

_SPEC = f"""\
gen: 1
name: sample-app
owner: "{{{{ owner }}}} ${{x}} \\"web\\""
targets: vm
account: "{ACCOUNT}"
config: {{GREETING: "Grüße ${{x}} %{{y}} \\"q\\" e\\u0301 \\\\n"}}
secrets: {{API_TOKEN: {{aws_secret: sample-app/api-token}}, PIN: {{aws_parameter: /sample-app/pin}}}}
rollout: {{bake: 7s}}
environments:
  stage: {{scale: {{min: 1, max: 2}}, rollback: {{automatic: false}}, rollout: {{strategy: canary}}}}
  prod: {{}}
"""
_CURL = """\
#!/bin/sh
cat "$ANSWER"
"""
# Fails as AWS does for a moment, or as credentials do that end; an alarm rings when it is asked again.
_AWS = """\
#!/bin/sh
case $* in
*"${FAILS-nothing}"*) echo ExpiredToken >&2; exit 254 ;;
*"describe-alarms"*) [ -z "${RINGS-}" ] || { [ ! -e "$RINGS" ] || { echo the-alarm; exit; }; touch "$RINGS"; } ;;
esac
exec "$REAL_AWS" "$@"
"""
_GROUP = "sample-app-prod-vm"


class Cloud(Stacks):
    """A project for virtual machines, and AWS as it goes on."""

    def __init__(
        self, folder: Path, environment: dict[str, str], refreshes: Refreshes, spec: str = _SPEC
    ) -> None:
        super().__init__(new_project(folder, spec), "tofu", environment)
        self.refreshes = refreshes
        self.answer = folder / "answer"
        self.answer.write_text("200")
        programs = folder / "bin"
        programs.mkdir()
        for name, text in {"curl": _CURL, "aws": _AWS}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.environment |= {
            "ANSWER": str(self.answer),
            "PATH": os.pathsep.join([str(programs), tools.search_path()]),
            "REAL_AWS": str(tools.need("aws")),
            "POLL_S": "0",
            "PATIENCE_S": "3",
        }

    def image(self, version: str, architecture: str = "x86_64") -> str:
        """An image as `packer build` leaves it."""
        ec2 = self.client("ec2")
        image: str = ec2.register_image(
            Name=f"sample-app-{version}", Architecture=architecture, RootDeviceName="/dev/xvda"
        )["ImageId"]
        # moto forgets it on the way.
        ec2_backends[ACCOUNT]["us-east-2"].amis[image].architecture = architecture
        tags = {"app": "sample-app", "approach": "vm", "version": version}
        ec2.create_tags(Resources=[image], Tags=[{"Key": key, "Value": tags[key]} for key in tags])
        return image

    def record(self, environment: str = "prod") -> dict[str, Any]:
        text = (self.project / f"releases/{environment}/vm.yml").read_text()
        found: dict[str, Any] = yaml.safe_load(text)
        return found

    def served(self, environment: str = "prod") -> list[list[str]]:
        """Version, image and template version of each release that came to its end."""
        return [line.split() for line in self.record(environment)["served"]]

    def group(self, name: str = _GROUP) -> dict[str, Any]:
        found = self.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=[name]
        )
        (group,) = found["AutoScalingGroups"]
        return dict(group)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Each test finds what the one before has left."""
    tools.need("aws")
    folder = tmp_path_factory.mktemp("vm")
    with (
        pytest.MonkeyPatch.context() as patch,
        moto() as environment,
        tofu.provider(environment) as attached,
    ):
        cloud = Cloud(folder, {**environment, **attached}, stand_in(patch))
        cloud.client("secretsmanager").create_secret(
            Name="sample-app/api-token", SecretString="hush"
        )
        yield cloud


def test_what_cannot_be_released(cloud: Cloud) -> None:
    """An environment, a version, an image that there is not; a plan that nobody confirms. Nothing is made."""
    before = cloud.record()
    for words, said in {
        ("ENV=", "VERSION=v1"): "say which environment: ENV=stage or ENV=prod",
        ("ENV=other", "VERSION=v1"): "there is no environment other",
        ("ENV=prod", "VERSION=-x"): "cannot be a version",
        ("ENV=prod", "VERSION=v1"): "us-east-2 has no image of v1: make build-vm VERSION=v1",
    }.items():
        done = cloud.make("deploy-vm", *words)
        assert done.returncode != 0
        assert said in done.stderr

    cloud.image("v1")
    refused = cloud.make("deploy-vm", "ENV=prod", "VERSION=v1", answer="no\n")
    assert refused.returncode != 0
    assert "v1 was not brought to prod" in refused.stderr
    wrong = cloud.image("v0", "arm64")
    other = cloud.make("deploy-vm", "ENV=prod", "VERSION=v0")
    assert f"{wrong} is for arm64, and t3.small is not" in _words(other.stderr)

    assert cloud.record() == before
    assert not cloud.client("elbv2").describe_load_balancers()["LoadBalancers"]


def _words(text: str) -> str:
    """Without the breaks and the frame of lines."""
    return " ".join(text.replace("│", "").split())


def test_the_first_release(cloud: Cloud) -> None:
    """The whole stack, with its instances; applied again, nothing changes."""
    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert not cloud.refreshes.asked
    assert cloud.served() == [["v1", cloud.record()["image_id"], "1"]]
    group = cloud.group()
    assert (group["MinSize"], group["MaxSize"], len(group["Instances"])) == (3, 10, 3)
    assert not cloud.drift("prod/asg")
    again = cloud.make("deploy-vm", "ENV=prod", "VERSION=v1")
    assert again.returncode == 0, again.stderr
    assert "nothing to roll out" in again.stdout
    assert not cloud.refreshes.asked
    assert len(cloud.served()) == 1


def test_what_an_instance_is_told(cloud: Cloud) -> None:
    """Its config comes to the byte, its secrets by name only, and it may read just those."""
    ec2, iam = cloud.client("ec2"), cloud.client("iam")
    (template,) = ec2.describe_launch_template_versions(LaunchTemplateName=_GROUP)[
        "LaunchTemplateVersions"
    ]
    text = base64.b64decode(template["LaunchTemplateData"]["UserData"]).decode()
    assert text.startswith("#cloud-config\n")
    files = {one["path"]: one for one in yaml.safe_load(text)["write_files"]}
    assert {one["permissions"] for one in files.values()} == {"0600"}
    config = base64.b64decode(files["/etc/opt/sample-app/config.env"]["content"])
    root = cloud.project / "tofu/live/prod/asg"
    assert config == (root / "config.env").read_bytes()
    assert "e\u0301" in config.decode()
    secrets = base64.b64decode(files["/etc/opt/sample-app/secrets"]["content"]).decode()
    assert "API_TOKEN secretsmanager us-east-2 sample-app/api-token\n" in secrets
    assert "hush" not in text + config.decode() + secrets

    profile = template["LaunchTemplateData"]["IamInstanceProfile"]["Arn"].rpartition("/")[2]
    (role,) = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    role = role["RoleName"]
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policies = [iam.get_role_policy(RoleName=role, PolicyName=name) for name in names]
    allowed = [
        resource
        for policy in policies
        for statement in policy["PolicyDocument"]["Statement"]
        for resource in _list(statement["Resource"])
        if "secret" in resource or "parameter" in resource
    ]
    assert len(allowed) == 2
    assert allowed[0].startswith(
        f"arn:aws:secretsmanager:us-east-2:{ACCOUNT}:secret:sample-app/api"
    )
    assert allowed[1] == f"arn:aws:ssm:us-east-2:{ACCOUNT}:parameter/sample-app/pin"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_a_release_is_rolled(cloud: Cloud) -> None:
    """By a refresh that may go back by itself, that watches the alarms and bakes."""
    image = cloud.image("v2")

    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v2")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "v2 serves in prod; commit releases/prod/vm.yml" in done.stdout
    (asked,) = cloud.refreshes.asked
    assert asked["AutoScalingGroupName"] == _GROUP
    assert asked["DesiredConfiguration"]["LaunchTemplate"]["Version"] == "2"
    wishes = asked["Preferences"]
    alarms = wishes.pop("AlarmSpecification")["Alarms"]
    known = cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert {one["AlarmName"] for one in known} >= set(alarms)
    assert len(alarms) == 6
    assert wishes == {
        "MinHealthyPercentage": 100,
        "MaxHealthyPercentage": 134,
        "BakeTime": 7,
        "SkipMatching": True,
        "AutoRollback": True,
        "ScaleInProtectedInstances": "Ignore",
        "StandbyInstances": "Ignore",
    }
    assert cloud.served()[-1] == ["v2", image, "2"]
    assert (cloud.record()["version"], cloud.record()["image_id"]) == ("v2", image)
    assert not cloud.drift("prod/asg")


@pytest.mark.parametrize(
    "goes",
    [
        # AWS goes back by itself: an instance fails, or an alarm rings.
        ("InProgress", "RollbackInProgress", "RollbackSuccessful"),
        # It makes no progress: the script takes it back.
        ("Pending", "InProgress"),
        # It ends without having gone back.
        ("InProgress", "Failed"),
    ],
)
def test_a_release_that_fails_is_taken_back(cloud: Cloud, goes: tuple[str, ...]) -> None:
    before = cloud.record()
    cloud.image("v3")
    usual, cloud.refreshes.goes = cloud.refreshes.goes, goes

    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v3")

    cloud.refreshes.goes = usual
    assert done.returncode != 0
    if goes[-1] == "Failed":  # what follows it fails as well, as this stand-in goes
        assert "going back failed too" in done.stderr
        back = cloud.make("rollback-vm", "ENV=prod", "TO=v2")
        assert back.returncode == 0, back.stdout + back.stderr
        assert cloud.record()["version"] == "v2"
    else:
        assert "v3 failed in prod; what ran before serves" in done.stderr, done.stdout + done.stderr
        assert cloud.record() == before
        assert cloud.group()["LaunchTemplate"]["Version"] == cloud.served()[-1][2]
    assert not cloud.drift("prod/asg")


def test_an_alarm_that_rings_already(cloud: Cloud) -> None:
    """No refresh is begun; who knows better may."""
    watch = cloud.client("cloudwatch")
    alarm = f"{_GROUP}-elb-5xx"
    watch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
    asked = len(cloud.refreshes.asked)

    refused = cloud.make("deploy-vm", "ENV=prod", "VERSION=v1")
    assert refused.returncode != 0
    assert f"an alarm rings in prod already, and nothing was changed: {alarm}" in refused.stderr
    assert len(cloud.refreshes.asked) == asked
    assert cloud.record()["version"] == "v2"

    forced = cloud.make("deploy-vm", "ENV=prod", "VERSION=v1", env={"IGNORE_ALARMS": "yes"})
    assert forced.returncode == 0, forced.stderr
    assert "AlarmSpecification" not in cloud.refreshes.asked[-1]["Preferences"]
    watch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="test")


def test_without_the_state(cloud: Cloud) -> None:
    """On a machine that has not the state of what is there, nothing is made a second time."""
    state = cloud.project / "tofu/live/prod/asg/terraform.tfstate"
    kept = state.rename(state.with_suffix(".elsewhere"))

    done = cloud.make("deploy-vm", "ENV=prod", "VERSION=v1")

    kept.rename(state)
    assert done.returncode != 0
    assert "prod is there, and tofu/live/prod/asg has no state of it" in done.stderr


@pytest.mark.parametrize("call", ["describe-auto-scaling-groups", "describe-instance-refreshes"])
def test_an_aws_that_does_not_say(cloud: Cloud, call: str) -> None:
    """No answer is not taken for one: that nothing runs, or that nothing is under way."""
    asked, record = len(cloud.refreshes.asked), cloud.record()

    for goal in ("deploy-vm", "rollback-vm"):
        done = cloud.make(goal, "ENV=prod", "VERSION=v2", env={"FAILS": call})
        assert done.returncode != 0
        assert "AWS does not say" in done.stderr, done.stdout + done.stderr

    assert len(cloud.refreshes.asked) == asked
    assert cloud.record() == record


def test_what_would_end_half_way(cloud: Cloud) -> None:
    """A load balancer that cannot be reached, another port, a record of something else: nothing is begun."""
    asked, record = len(cloud.refreshes.asked), cloud.record()
    script = cloud.project / "packer/release.sh"
    text, notes = script.read_text(), cloud.project / "releases/prod/vm.yml"
    noted = notes.read_text()

    cloud.answer.write_text("000")
    away = cloud.make("deploy-vm", "ENV=prod", "VERSION=v2")
    cloud.answer.write_text("200")
    script.write_text(text.replace('"8080 /readyz"', '"8081 /readyz"'))
    moved = cloud.make("deploy-vm", "ENV=prod", "VERSION=v2")
    script.write_text(text)
    notes.write_text(noted.replace(f' {cloud.served()[-1][2]}"', ' 99"'))
    old = [cloud.make(verb, "ENV=prod", "VERSION=v2") for verb in ("deploy-vm", "rollback-vm")]
    notes.write_text(noted)

    assert "cannot be reached from here" in away.stderr
    assert "http.port or health.ready has changed" in moved.stderr
    assert all("releases/prod/vm.yml is not about what runs in prod" in one.stderr for one in old)
    assert all(one.returncode != 0 for one in (away, moved, *old))
    assert len(cloud.refreshes.asked) == asked
    assert cloud.record() == record


def test_instances_are_replaced_for_a_new_secret(cloud: Cloud) -> None:
    version = cloud.record()["version"]
    done = cloud.make("deploy-vm", "ENV=prod", f"VERSION={version}", env={"RESTART": "yes"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.refreshes.asked[-1]["Preferences"]["SkipMatching"] is False


def test_the_way_back(cloud: Cloud) -> None:
    """To the release before, with its config; a second time returns; a named one."""
    assert [version for version, _, _ in cloud.served()] == ["v1", "v2", "v1"]

    for expected in ("v2", "v1"):
        done = cloud.make("rollback-vm", "ENV=prod")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{expected} serves in prod" in done.stdout
        record = cloud.record()
        assert record["version"] == expected
        assert cloud.group()["LaunchTemplate"]["Version"] == cloud.served()[-1][2]
        wishes = cloud.refreshes.asked[-1]["Preferences"]
        assert (wishes["AutoRollback"], wishes["BakeTime"]) == (False, 0)
        assert "CheckpointPercentages" not in wishes

    never = cloud.make("rollback-vm", "ENV=prod", "TO=v9")
    assert "knows no release v9 that served" in never.stderr
    named = cloud.make("rollback-vm", "ENV=prod", "TO=v2")
    assert named.returncode == 0, named.stderr
    assert cloud.record()["version"] == "v2"


def test_what_is_under_way_is_taken_back(cloud: Cloud) -> None:
    """A second release keeps away from it; a rollback ends it."""
    group = cloud.group()
    usual, cloud.refreshes.goes = cloud.refreshes.goes, ("InProgress",)
    template = {"LaunchTemplateName": _GROUP, "Version": "1"}
    cloud.client("autoscaling").start_instance_refresh(
        AutoScalingGroupName=_GROUP,
        DesiredConfiguration={"LaunchTemplate": template},
        Preferences={"BakeTime": 1},
    )
    cloud.refreshes.goes = usual

    second = cloud.make("deploy-vm", "ENV=prod", "VERSION=v1")
    assert second.returncode != 0
    assert "another release is under way in prod (InProgress)" in second.stderr
    back = cloud.make("rollback-vm", "ENV=prod")
    assert back.returncode == 0, back.stdout + back.stderr
    assert "v2 serves in prod" in back.stdout
    assert cloud.group()["LaunchTemplate"] == group["LaunchTemplate"]

    # A way back that somebody is on already is not taken back.
    before = cloud.served()[-2]
    cloud.client("autoscaling").start_instance_refresh(
        AutoScalingGroupName=_GROUP,
        DesiredConfiguration={"LaunchTemplate": {**template, "Version": before[2]}},
        Preferences={"BakeTime": 1},
    )
    waited = cloud.make("rollback-vm", "ENV=prod")
    assert waited.returncode == 0, waited.stdout + waited.stderr
    assert "waiting for its end" in waited.stdout
    assert cloud.served()[-1] == before
    assert cloud.make("rollback-vm", "ENV=prod", "TO=v2").returncode == 0


def test_aws_went_back_by_itself(cloud: Cloud) -> None:
    """After a deployment that nobody watched to its end: what serves is left alone, and the record put right."""
    before, asked = cloud.record(), len(cloud.refreshes.asked)
    record = cloud.project / "releases/prod/vm.yml"
    text = record.read_text()
    for key, value in {"version": "v9", "image_id": cloud.image("v9")}.items():
        text = text.replace(f'{key}: "{before[key]}"', f'{key}: "{value}"')
    record.write_text(text)

    done = cloud.make("rollback-vm", "ENV=prod")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "went back already" in done.stdout
    assert cloud.record() == before
    assert len(cloud.refreshes.asked) == asked


@pytest.mark.long
def test_another_environment(cloud: Cloud) -> None:
    """It gets the very image, and costs the other one nothing."""
    before = cloud.group()

    early = cloud.make("promote-vm", "ENV=prod", "FROM=stage")
    assert "nothing is released in stage yet" in early.stderr
    done = cloud.make("promote-vm", "ENV=stage", "FROM=prod")

    assert done.returncode == 0, done.stdout + done.stderr
    assert cloud.record("stage")["image_id"] == cloud.record("prod")["image_id"]
    stage = cloud.group("sample-app-stage-vm")
    assert len(stage["Instances"]) == 1
    assert cloud.group() == before
    assert not cloud.drift("prod/asg")

    cloud.answer.write_text("502")
    cloud.image("v4")
    failed = cloud.make("deploy-vm", "ENV=stage", "VERSION=v4")
    cloud.answer.write_text("200")
    assert failed.returncode != 0
    assert "does not answer: 502" in failed.stderr
    assert "v4 failed in stage and may still be there: make rollback-vm ENV=stage" in failed.stderr
    for asked in cloud.refreshes.asked:
        # Of one instance there is none to try first, and AWS refuses 100 percent twice.
        if asked["AutoScalingGroupName"] == "sample-app-stage-vm":
            assert "CheckpointPercentages" not in asked["Preferences"]
    unproven = cloud.make("promote-vm", "ENV=prod", "FROM=stage")
    assert "v4 did not come to its end in stage: it is not promoted" in unproven.stderr
    assert cloud.make("rollback-vm", "ENV=stage").returncode == 0
    assert cloud.record("stage")["version"] == cloud.record("prod")["version"]


def test_a_changed_spec(cloud: Cloud, tmp_path: Path) -> None:
    """More instances are a larger group, other config a new version of the template, and nothing else is touched."""
    spec = _SPEC.replace("prod: {}", "prod: {scale: {max: 20}, config: {GREETING: Hello}}")
    fresh = new_project(tmp_path, spec)
    kept = {}
    for name in ("main.tf", "config.env"):
        file = Path("tofu/live/prod/asg", name)
        kept[file] = (cloud.project / file).read_text()
        (cloud.project / file).write_text((fresh / file).read_text())

    changes = cloud.drift("prod/asg")

    for file, text in kept.items():
        (cloud.project / file).write_text(text)
    assert changes == {
        "module.asg.aws_autoscaling_group.this": ["max_size"],
        "module.asg.aws_launch_template.this": ["user_data"],
    }


def test_nothing_is_left(cloud: Cloud) -> None:
    confirmed = {f"TF_CLI_ARGS_{verb}": "-auto-approve" for verb in ("apply", "destroy")}
    made = cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    for name in ("stage", "prod")[2 - len(made) :]:
        done = cloud.make("destroy-vm", f"ENV={name}", env=confirmed)
        assert done.returncode == 0, done.stdout + done.stderr
    ec2 = cloud.client("ec2")
    assert not cloud.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert not cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    assert not ec2.describe_launch_templates()["LaunchTemplates"]
    assert not [one for one in ec2.describe_vpcs()["Vpcs"] if not one["IsDefault"]]
    assert not cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
    assert not [
        r for r in cloud.client("iam").list_roles()["Roles"] if "sample-app" in r["RoleName"]
    ]
