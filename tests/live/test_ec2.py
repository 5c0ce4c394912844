"""The playbooks that make and remove servers, against a stand-in for AWS.

What is real: Ansible, its modules and its inventory plugin, the AWS CLI, what they ask of AWS. What is
not: moto answers, and its servers are records only. So nobody can log in to one, and what an agent
on a server would say comes from a stand-in of the AWS CLI.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types of its own
import pytest

from tests import tools
from tests.live.project import new_project

_ACCOUNT = "123456789012"
_REGION = "us-east-2"
_SPEC = """\
gen: 1
name: sample-app
owner: Web & team
targets: [server]
account: "{account}"
region: {region}
environments:
  stage:
    scale: {{min: 1}}
    server: {{os: debian}}
    traffic: {{public: false}}
    network: {{vpc_id: {vpc}, private_subnets: {private}, public_subnets: []}}
  prod: {{}}
"""
# moto knows no images of Debian.
_STAGE = "ec2_ami_parameter=/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
_PLUGIN = "#!/bin/sh\necho 1.2\n"
# An agent is there a moment after its server, and then says what the host key is.
_AWS = """\
#!/bin/sh
for word; do
  case $word in --instance-ids=*|--instance-id=*) id=${word#*=} ;; esac
done
case "$1 $2" in
  "ssm send-command")
    if ! test -e "$STAND_IN/$id"; then touch "$STAND_IN/$id"; echo InvalidInstanceId >&2; exit 254; fi
    exec "$STAND_IN_AWS" "$@" ;;
  "ssm get-command-invocation")
    "$STAND_IN_AWS" "$@" > /dev/null || exit
    printf '["Success", "ssh-ed25519 %s root@%s\\\\n"]\\n' "$(printf %s "$id" | base64)" "$id" ;;
  "ssm start-session")
    echo "$*" >> "$STAND_IN/sessions"; exit 255 ;;
  *) exec "$STAND_IN_AWS" "$@" ;;
esac
"""


@dataclass(frozen=True)
class Run:
    """What a playbook came to."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """How many tasks say that they changed something."""
        (number,) = re.findall(r"^localhost .*\bchanged=(\d+)", self.output, re.MULTILINE)
        return int(number)


@dataclass(frozen=True)
class Cloud:
    """A stand-in for AWS, a project, and a machine to run its playbooks."""

    folder: Path
    endpoint: str

    @property
    def ansible(self) -> Path:
        return self.folder / "project" / "ansible"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return {
            **kept,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(self.folder),
            "LC_ALL": "C.UTF-8",
            "PATH": os.pathsep.join([str(self.folder / "bin"), tools.search_path()]),
            "STAND_IN": str(self.folder / "agents"),
            "STAND_IN_AWS": str(tools.need("aws")),
        }

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            region_name=_REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106 # moto takes any
        )

    def call(self, command: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            check=False,
            cwd=self.ansible,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def play(self, book: str, name: str, *variables: str, check: bool = False) -> Run:
        """Run a playbook for an environment."""
        command = ["ansible-playbook", f"--inventory=inventories/{name}", f"{book}_playbook.yml"]
        command += ["--check"] if check else []
        of_stage = [_STAGE] if name == "stage" else []
        for variable in ["ec2_ask_again_s=1", *of_stage, *variables]:
            command.append(f"--extra-vars={variable}")
        done = self.call(command)
        return Run(done.returncode, done.stdout + done.stderr)

    def create(self, name: str, *variables: str) -> Run:
        return _well(self.play("create_ec2_instances", name, *variables))

    def destroy(self, name: str) -> Run:
        return _well(self.play("destroy_ec2_instances", name, f"confirm={name}"))

    def inventory(self, name: str) -> Any:
        done = self.call(["ansible-inventory", f"--inventory=inventories/{name}", "--list"])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def known_hosts(self, name: str) -> list[str]:
        file = self.ansible / f"inventories/{name}/known_hosts"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if not line.startswith("#")]

    def servers(self, name: str) -> dict[str, dict[str, Any]]:
        """The servers of an environment that are there, by name."""
        states = ["pending", "running", "stopping", "stopped"]
        filters = [*_filters(name), {"Name": "instance-state-name", "Values": states}]
        answer = self.client("ec2").describe_instances(Filters=filters)
        found = [one for part in answer["Reservations"] for one in part["Instances"]]
        assert len({_tags(one)["Name"] for one in found}) == len(found), "two of one name"
        return {_tags(one)["Name"]: one for one in found}

    def left(self) -> dict[str, Any]:
        """All that can be made, whoever made it: to see what is there before and after."""
        ec2, iam = self.client("ec2"), self.client("iam")
        gateways = ec2.describe_nat_gateways()["NatGateways"]
        return {
            "VPCs": _ids(ec2.describe_vpcs()["Vpcs"], "VpcId"),
            "subnets": _ids(ec2.describe_subnets()["Subnets"], "SubnetId"),
            "tables": _ids(ec2.describe_route_tables()["RouteTables"], "RouteTableId"),
            "internet gateways": _ids(
                ec2.describe_internet_gateways()["InternetGateways"], "InternetGatewayId"
            ),
            "gateways": _ids([g for g in gateways if g["State"] != "deleted"], "NatGatewayId"),
            "addresses": _ids(ec2.describe_addresses()["Addresses"], "PublicIp"),
            "groups": _ids(ec2.describe_security_groups()["SecurityGroups"], "GroupId"),
            "keys": _ids(ec2.describe_key_pairs()["KeyPairs"], "KeyName"),
            "volumes": _ids(ec2.describe_volumes()["Volumes"], "VolumeId"),
            "roles": _ids(iam.list_roles()["Roles"], "RoleName"),
            "profiles": _ids(
                iam.list_instance_profiles()["InstanceProfiles"], "InstanceProfileName"
            ),
        }


def _well(run: Run) -> Run:
    assert run.code == 0, run.output
    return run


def _filters(name: str) -> list[dict[str, Any]]:
    tags = {"app": "sample-app", "env": name, "approach": "server"}
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]


def _tags(item: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in item.get("Tags", [])}


def _ids(items: list[dict[str, Any]], key: str) -> set[str]:
    return {item[key] for item in items}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud in which somebody else made a network and a server."""
    for tool in ("ansible-playbook", "ansible-inventory", "aws"):
        tools.need(tool)
    folder = tmp_path_factory.mktemp("ec2")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cloud = Cloud(folder, f"http://127.0.0.1:{port}")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("w") as log:
        moto = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(f"{cloud.endpoint}/moto-api/", folder / "moto.log")
        _machine(folder)
        new_project(folder, _spec(cloud))
        yield cloud
    finally:
        moto.kill()
        moto.wait()


def _wait_for(url: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url).close()  # noqa: S310 # ours
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        else:
            return


def _machine(folder: Path) -> None:
    for name, text in {"aws": _AWS, "session-manager-plugin": _PLUGIN}.items():
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    (folder / "agents").mkdir()
    (folder / ".ssh").mkdir()
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPwzoGbyPQVnuAUbKVrdSFhuvpzAYbDnlOtMr8OWNMQK me\n"
    (folder / ".ssh" / "id_ed25519.pub").write_text(key)


def _spec(cloud: Cloud) -> str:
    ec2 = cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    private = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{number}.0/24")["Subnet"]["SubnetId"]
        for number in (1, 2)
    ]
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=private[0])
    return _SPEC.format(
        account=_ACCOUNT, region=_REGION, vpc=vpc, private=f"[{', '.join(private)}]"
    )


@dataclass(frozen=True)
class State:
    """What there was after a step, for the tests that come later than the next one."""

    before: State | None
    runs: dict[str, Run]
    servers: dict[str, dict[str, Any]]
    known_hosts: dict[str, list[str]]
    left: dict[str, Any]

    def since(self) -> State:
        """The state that the step began with."""
        assert self.before
        return self.before


def _state(cloud: Cloud, runs: dict[str, Run], before: State | None) -> State:
    servers = {name: cloud.servers(name) for name in ("stage", "prod")}
    known_hosts = {name: cloud.known_hosts(name) for name in servers}
    return State(before, runs, servers, known_hosts, cloud.left())


def _create_both(cloud: Cloud) -> dict[str, Run]:
    names = ("stage", "prod")
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(cloud.create, names), strict=True))


# The steps, each from the state that the one before left.


@pytest.fixture(scope="module")
def untouched(cloud: Cloud) -> State:
    """What others made."""
    return _state(cloud, {}, None)


@pytest.fixture(scope="module")
def made(cloud: Cloud, untouched: State) -> State:
    """Both environments, made at once in one account."""
    return _state(cloud, _create_both(cloud), untouched)


@pytest.fixture(scope="module")
def again(cloud: Cloud, made: State) -> State:
    """The same a second time."""
    return _state(cloud, _create_both(cloud), made)


@pytest.fixture(scope="module")
def fewer(cloud: Cloud, again: State) -> State:
    """Two app servers instead of three; and somebody gave the servers more rights."""
    iam = cloud.client("iam")
    allow = {"Effect": "Allow", "Action": "ssm:GetParameters", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    policy = iam.create_policy(PolicyName="parameters", PolicyDocument=document)["Policy"]
    iam.attach_role_policy(RoleName="sample-app-prod-srv", PolicyArn=policy["Arn"])
    return _state(cloud, {"prod": cloud.create("prod", "ec2_app_servers=2")}, again)


@pytest.fixture(scope="module")
def replaced(cloud: Cloud, fewer: State) -> State:
    """Three again, and the first of them another one; a second balancer."""
    wish = ["ec2_replace=sample-app-prod-srv-app-1", "ec2_balancers=2"]
    return _state(cloud, {"prod": cloud.create("prod", *wish)}, fewer)


@pytest.fixture(scope="module")
def without_stage(cloud: Cloud, replaced: State) -> State:
    """One environment destroyed, twice."""
    first = cloud.destroy("stage")
    assert first.changed > 0
    return _state(cloud, {"stage": cloud.destroy("stage")}, replaced)


@pytest.fixture(scope="module")
def destroyed(cloud: Cloud, without_stage: State) -> State:
    """The other one too."""
    return _state(cloud, {"prod": cloud.destroy("prod")}, without_stage)


def test_a_wrong_account_is_refused(cloud: Cloud, untouched: State) -> None:
    """Whatever is to be done, before anything is."""
    for book in ("create_ec2_instances", "destroy_ec2_instances"):
        run = cloud.play(book, "prod", "ec2_account='999999999999'", "confirm=prod")

        assert run.code != 0
        words = " ".join(run.output.split())
        assert f"for the account {_ACCOUNT}, and prod belongs to 999999999999" in words
    assert cloud.left() == untouched.left


def test_what_the_machine_lacks_is_said_at_once(cloud: Cloud, untouched: State) -> None:
    """Every tool, before anything is made."""
    broken = cloud.folder / "broken" / "aws"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    path = os.pathsep.join([str(broken.parent), tools.search_path()])
    command = ["ansible-playbook", "--inventory=inventories/prod"]
    done = cloud.call([*command, "create_ec2_instances_playbook.yml"], PATH=path)

    assert done.returncode != 0
    words = " ".join(done.stdout.split())
    assert "Nothing was changed. This machine lacks: the AWS CLI" in words
    assert ("the Session Manager plugin" in words) == (not tools.find("session-manager-plugin"))
    assert cloud.left() == untouched.left


def test_a_dry_run_makes_nothing(cloud: Cloud, untouched: State) -> None:
    """Before anything is there, it ends without a failure where it cannot know more."""
    for name in ("stage", "prod"):
        _well(cloud.play("create_ec2_instances", name, check=True))
    assert cloud.left() == untouched.left


def test_as_many_servers_as_the_spec_says(made: State) -> None:
    """By name, over the zones."""
    assert set(made.servers["stage"]) == {
        "sample-app-stage-srv-app-1",
        "sample-app-stage-srv-nginx-1",
    }
    prod = made.servers["prod"]
    names = [f"sample-app-prod-srv-{name}" for name in ("app-1", "app-2", "app-3", "nginx-1")]
    assert sorted(prod) == names
    zones = [prod[name]["Placement"]["AvailabilityZone"] for name in names[:3]]
    assert zones == ["us-east-2a", "us-east-2b", "us-east-2c"]
    assert {one["State"]["Name"] for one in prod.values()} == {"running"}


def test_servers_are_hardened_and_tagged(cloud: Cloud, made: State) -> None:
    """Metadata by token only, encrypted volumes, a public key."""
    for name, servers in made.servers.items():
        tags = {
            "app": "sample-app",
            "env": name,
            "approach": "server",
            "managed-by": "gen",
        }
        for title, server in servers.items():
            role = "nginx" if "-srv-nginx-" in title else "app"
            own = _tags(server)
            assert own.pop("owner").startswith("Web-team-")
            assert own == {**tags, "Name": title, "role": role}
            options = server["MetadataOptions"]
            assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)
            assert server["KeyName"] == f"sample-app-{name}-srv"
            (device,) = server["BlockDeviceMappings"]
            volume = _volume(cloud, device["Ebs"]["VolumeId"])
            assert (volume["Encrypted"], volume["VolumeType"], volume["Size"]) == (True, "gp3", 20)
            assert _tags(volume)["env"] == name


@pytest.mark.usefixtures("made")
def test_a_server_may_only_be_reached(cloud: Cloud) -> None:
    """Through Session Manager and Run Command: it, and so the app, reads no parameter, no secret."""
    for name in ("stage", "prod"):
        policies, statements = _rights(cloud, name)

        assert policies == {"session-manager"}
        (statement,) = statements
        assert statement.keys() == {"Effect", "Action", "Resource"}
        assert set(statement["Action"]) == {
            "ssm:UpdateInstanceInformation",
            *(
                f"ssmmessages:{verb}{kind}Channel"
                for verb in ("Create", "Open")
                for kind in ("Control", "Data")
            ),
            "ec2messages:AcknowledgeMessage",
            "ec2messages:DeleteMessage",
            "ec2messages:FailMessage",
            "ec2messages:GetEndpoint",
            "ec2messages:GetMessages",
            "ec2messages:SendReply",
        }


def _rights(cloud: Cloud, name: str) -> tuple[set[str], list[dict[str, Any]]]:
    """The names of all policies of a role, attached ones and its own; and what its own ones say."""
    iam, role = cloud.client("iam"), f"sample-app-{name}-srv"
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    own = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [
        iam.get_role_policy(RoleName=role, PolicyName=title)["PolicyDocument"] for title in own
    ]
    statements = [statement for document in documents for statement in document["Statement"]]
    return {*own, *_ids(attached, "PolicyName")}, statements


def _volume(cloud: Cloud, volume: str) -> dict[str, Any]:
    (found,) = cloud.client("ec2").describe_volumes(VolumeIds=[volume])["Volumes"]
    return dict(found)


@pytest.mark.usefixtures("made")
def test_only_who_has_to_may_talk(cloud: Cloud) -> None:
    """The world reaches port 80 of public balancers, balancers reach the app, nobody has SSH."""
    for name, world in (("stage", "10.9.0.0/16"), ("prod", "0.0.0.0/0")):
        answer = cloud.client("ec2").describe_security_groups(Filters=_filters(name))
        groups = {group["GroupName"]: group for group in answer["SecurityGroups"]}
        balancer = groups.pop(f"sample-app-{name}-srv-nginx")
        app = groups.pop(f"sample-app-{name}-srv-app")
        assert not groups

        assert _openings(balancer["IpPermissions"]) == {(80, 80, world)}
        assert _openings(app["IpPermissions"]) == {(8080, 8143, balancer["GroupId"])}
        out = {(443, 443, "0.0.0.0/0"), *([(80, 80, "0.0.0.0/0")] if name == "stage" else [])}
        assert _openings(app["IpPermissionsEgress"]) == out
        to_app = (8080, 8143, app["GroupId"])
        assert _openings(balancer["IpPermissionsEgress"]) == {*out, to_app}


def _openings(rules: list[dict[str, Any]]) -> set[tuple[int, int, str]]:
    return {
        (rule["FromPort"], rule["ToPort"], source)
        for rule in rules
        for source in [
            *(each["CidrIp"] for each in rule["IpRanges"]),
            *(each["CidrIpv6"] for each in rule["Ipv6Ranges"]),
            *(each["GroupId"] for each in rule["UserIdGroupPairs"]),
        ]
    }


def test_only_public_balancers_have_public_addresses(cloud: Cloud, made: State) -> None:
    """An address that stays for each of them; app servers leave by the NAT gateway."""
    ec2 = cloud.client("ec2")
    addresses = ec2.describe_addresses()["Addresses"]
    balancer = made.servers["prod"]["sample-app-prod-srv-nginx-1"]
    owners = {_tags(one)["Name"]: one.get("InstanceId") or None for one in addresses}
    assert owners == {
        "sample-app-prod-srv-nat": None,
        "sample-app-prod-srv-nginx-1": balancer["InstanceId"],
    }
    for server in made.servers["prod"].values():
        (subnet,) = ec2.describe_subnets(SubnetIds=[server["SubnetId"]])["Subnets"]
        kind = "public" if server is balancer else "private"
        zone = server["Placement"]["AvailabilityZone"]
        assert _tags(subnet)["Name"] == f"sample-app-prod-srv-{kind}-{zone}"
        assert not subnet["MapPublicIpOnLaunch"]
        assert _ways(cloud, server["SubnetId"]) == {"igw" if kind == "public" else "nat"}


def _ways(cloud: Cloud, subnet: str) -> set[str]:
    """Which kinds of gateways lead from a subnet to the world."""
    filters = [{"Name": "association.subnet-id", "Values": [subnet]}]
    (table,) = cloud.client("ec2").describe_route_tables(Filters=filters)["RouteTables"]
    to_world = [one for one in table["Routes"] if one["DestinationCidrBlock"] == "0.0.0.0/0"]
    return {(one.get("NatGatewayId") or one["GatewayId"]).split("-")[0] for one in to_world}


def test_an_existing_network_is_left_as_it_is(made: State, untouched: State) -> None:
    """One VPC is new, and it is that of the environment without a network."""
    assert len(made.left["VPCs"] - untouched.left["VPCs"]) == 1
    assert len(made.left["subnets"] - untouched.left["subnets"]) == 6
    subnets = {one["SubnetId"] for one in made.servers["stage"].values()}
    assert subnets <= untouched.left["subnets"]


def test_host_keys_are_learnt_from_the_servers(made: State) -> None:
    """By instance id, which is what SSH calls them."""
    for name, servers in made.servers.items():
        ids = sorted(server["InstanceId"] for server in servers.values())
        assert [line.split()[0] for line in made.known_hosts[name]] == ids
        assert all(line.split()[1] == "ssh-ed25519" for line in made.known_hosts[name])
        assert len({line.split()[2] for line in made.known_hosts[name]}) == len(ids)


def test_an_inventory_lists_its_own_servers(cloud: Cloud, made: State) -> None:
    """In the groups that the playbooks name, reached by id, with their private addresses."""
    for name, servers in made.servers.items():
        inventory = cloud.inventory(name)
        groups = {"app": "sample_app_instances", "nginx": "nginx_instances"}
        for role, group in groups.items():
            hosts = [title for title in servers if f"-srv-{role}-" in title]
            assert sorted(inventory[group]["hosts"]) == sorted(hosts)
        assert set(inventory["_meta"]["hostvars"]) - {"profile"} == set(servers)
        for title, server in servers.items():
            variables = inventory["_meta"]["hostvars"][title]
            assert _plain(variables["ansible_host"]) == server["InstanceId"]
            assert _plain(variables["private_address"]) == server["PrivateIpAddress"]
            assert _plain(variables["ansible_user"]) == ("admin" if name == "stage" else "ec2-user")


def _plain(value: Any) -> Any:
    """What came from AWS is marked by Ansible as text that is no template."""
    return value["__ansible_unsafe"] if isinstance(value, dict) else value


def test_ssh_goes_through_session_manager(cloud: Cloud, made: State) -> None:
    """To the instance, with the host key that was learnt and no other."""
    command = ["ansible", "--inventory=inventories/prod", "sample-app-prod-srv-app-1", "-vvv"]
    done = cloud.call([*command, "--module-name=ansible.builtin.ping"])

    assert "StrictHostKeyChecking=yes" in done.stdout
    assert f"{cloud.ansible}/inventories/prod/known_hosts" in done.stdout
    server = made.servers["prod"]["sample-app-prod-srv-app-1"]["InstanceId"]
    expected = (
        f"ssm start-session --region {_REGION} --target {server} "
        "--document-name AWS-StartSSHSession --parameters portNumber=22"
    )
    assert expected in (cloud.folder / "agents/sessions").read_text().splitlines()


def test_a_second_run_changes_nothing(again: State) -> None:
    """And says so."""
    assert {name: run.changed for name, run in again.runs.items()} == {"stage": 0, "prod": 0}
    assert again.left == again.since().left
    assert again.known_hosts == again.since().known_hosts


@pytest.mark.long
def test_a_dry_run_of_fewer_changes_nothing(cloud: Cloud, again: State) -> None:
    """Nor does one of the end of it all."""
    _well(cloud.play("create_ec2_instances", "prod", "ec2_app_servers=1", check=True))
    _well(cloud.play("destroy_ec2_instances", "stage", "confirm=stage", check=True))

    assert cloud.left() == again.left
    assert set(cloud.servers("prod")) == set(again.servers["prod"])


def test_the_last_one_stays(cloud: Cloud, again: State) -> None:
    """Unless the outage is accepted; and a name that no server has is refused."""
    last = cloud.play("create_ec2_instances", "stage", "ec2_replace=sample-app-stage-srv-app-1")
    typo = cloud.play("create_ec2_instances", "stage", "ec2_replace=sample-app-stage-srv-app-9")

    assert last.code != 0
    assert "This would leave no app server that runs now" in " ".join(last.output.split())
    assert typo.code != 0
    assert "ec2_replace names sample-app-stage-srv-app-9" in " ".join(typo.output.split())
    assert cloud.servers("stage").keys() == again.servers["stage"].keys()


@pytest.mark.long
@pytest.mark.usefixtures("again")
def test_no_server_goes_during_a_rollout(cloud: Cloud) -> None:
    """Neither a surplus one nor one that is replaced, and it is said whose rollout it is."""
    lock = cloud.folder / "rollout"
    lock.write_text("deploy v2, begun by ann\n")
    before = cloud.left()
    # What is asked is the first balancer: here it is this machine.
    here = ["ansible_connection=local", f"ec2_rollout_lock={lock}"]
    for wish in ("ec2_app_servers=2", "ec2_replace=sample-app-prod-srv-app-2"):
        run = cloud.play("create_ec2_instances", "prod", wish, *here)

        assert run.code != 0
        words = " ".join(run.output.split())
        assert "while a rollout is under way: deploy v2, begun by ann. If it is not" in words
        assert "make unlock-server ENV=prod" in words
    assert cloud.left() == before
    _well(cloud.play("create_ec2_instances", "prod", *here))
    lock.unlink()
    _well(cloud.play("create_ec2_instances", "prod", "ec2_app_servers=2", *here, check=True))


def test_rights_that_somebody_added_are_taken_away(cloud: Cloud, fewer: State) -> None:
    """AWS's own policies, and others from outside; the role keeps what it is for."""
    assert fewer.runs["prod"].changed > 0
    assert _rights(cloud, "prod")[0] == {"session-manager"}


def test_fewer_servers(fewer: State) -> None:
    """The last goes, though nobody can reach it to drain it; the others are not touched."""
    before, after = fewer.since().servers["prod"], fewer.servers["prod"]
    assert set(before) - set(after) == {"sample-app-prod-srv-app-3"}
    assert {one["InstanceId"] for one in after.values()} == {
        before[name]["InstanceId"] for name in after
    }
    words = " ".join(fewer.runs["prod"].output.split())
    assert (
        "sample-app-prod-srv-nginx-1 cannot be reached, so sample-app-prod-srv-app-3 goes" in words
    )
    known = {line.split()[0] for line in fewer.known_hosts["prod"]}
    assert known == {one["InstanceId"] for one in after.values()}
    assert set(fewer.known_hosts["prod"]) < set(fewer.since().known_hosts["prod"])


def test_more_servers_and_a_new_one_for_an_old(replaced: State) -> None:
    """In the zones that the names have; addresses stay, those who are not meant too."""
    before, after = replaced.since().servers["prod"], replaced.servers["prod"]
    new = {
        name
        for name in after
        if name not in before or before[name]["InstanceId"] != after[name]["InstanceId"]
    }
    expected = {f"sample-app-prod-srv-{name}" for name in ("app-1", "app-3", "nginx-2")}
    assert new == expected
    assert len(after) == 5
    zones = [
        after[f"sample-app-prod-srv-app-{number}"]["Placement"]["AvailabilityZone"]
        for number in (1, 2, 3)
    ]
    assert zones == ["us-east-2a", "us-east-2b", "us-east-2c"]
    assert len(replaced.left["addresses"] - replaced.since().left["addresses"]) == 1
    assert replaced.since().left["addresses"] < replaced.left["addresses"]
    assert len(replaced.known_hosts["prod"]) == 5


def test_nothing_is_destroyed_without_its_name(cloud: Cloud, replaced: State) -> None:
    """Neither when nobody answers, nor when another name is said."""
    silent = cloud.play("destroy_ec2_instances", "prod")
    wrong = cloud.play("destroy_ec2_instances", "prod", "confirm=stage")

    assert silent.code != 0
    assert wrong.code != 0
    assert "Nothing was changed: that is not prod." in wrong.output
    assert cloud.left() == replaced.left


def test_destroying_one_leaves_the_other(without_stage: State) -> None:
    """A second time there is nothing to do."""
    assert without_stage.servers["stage"] == {}
    assert without_stage.known_hosts["stage"] == []
    assert without_stage.servers["prod"].keys() == without_stage.since().servers["prod"].keys()
    assert without_stage.left["VPCs"] == without_stage.since().left["VPCs"]
    assert without_stage.left["roles"] == {"sample-app-prod-srv"}
    assert without_stage.left["keys"] == {"sample-app-prod-srv"}
    assert without_stage.runs["stage"].changed == 0


def test_destroying_leaves_what_others_made(destroyed: State, untouched: State) -> None:
    """And nothing else."""
    assert destroyed.left == untouched.left
    assert destroyed.known_hosts["prod"] == []


def test_servers_that_one_has_already(cloud: Cloud) -> None:
    """The example works once it is copied: SSH goes straight to them, with known host keys."""
    folder = cloud.ansible / "inventories" / "prod"
    shutil.copy(folder.parent / "static.example.yml", folder / "hosts.yml")
    ec2 = folder / "inventory.aws_ec2.yml"
    kept = ec2.read_bytes()
    ec2.unlink()
    try:
        inventory = cloud.inventory("prod")
        command = ["ansible", "--inventory=inventories/prod", "app-1", "--module-name=debug"]
        done = cloud.call([*command, "--args=var=ansible_ssh_common_args"])
    finally:
        (folder / "hosts.yml").unlink()
        ec2.write_bytes(kept)
    assert inventory["sample_app_instances"]["hosts"] == ["app-1", "app-2"]
    assert inventory["nginx_instances"]["hosts"] == ["nginx-1"]
    assert "StrictHostKeyChecking=yes" in done.stdout
    assert "ProxyCommand" not in done.stdout
