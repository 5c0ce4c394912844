"""Packer and the image that it makes, up to the first boot of an instance.

What is real: Packer with its builder, provisioners and post-processor, Ansible, systemd, the boot. What is
not: moto answers in the place of EC2; the instance is a container; its cloud-init, and the AWS CLI that it
asks for secrets, are stand-ins. The Packer that can be installed here is of 2020, from before plugins: what it
does not know is taken out first (`_for_old_packer`), which is what no test here sees.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types of its own
import pytest

from tests import tools
from tests.live.containers import wait_until
from tests.live.engine import Engine
from tests.live.fleet import BROKEN
from tests.live.http import Target, get
from tests.live.project import new_project, release
from tests.live.servers import Done, Server, Servers, servers

_REGION = "us-east-2"
_FURTHER = "eu-west-1"
_SOURCE = "ami-12c6146b"
_SPEC = """\
gen: 1
name: sample-app
owner: Web & team
targets: [vm]
region: us-east-2
runtime: {{language: {language}}}
vm: {{architecture: {architecture}, instance_type: {instance_type}}}
config: {{GREETING: hello}}
secrets: {{API_TOKEN: {{aws_secret: sample-app/api-token}}}}
environments:
  stage: {{}}
  prod: {{region: eu-west-1}}
"""
_INSTANCE_TYPES = {"x86_64": "t3.small", "arm64": "t4g.small"}
_READY = 'return quietly(json(200, { status: "ready" }));'
# Says that it is done, if with warnings.
_CLOUD_INIT = """\
#!/bin/sh
echo "$*" >> /srv/cloud-init
[ "$1" != status ] || exit 2
"""
# Takes its time, then writes what user data has.
_CLOUD_INIT_UNIT = """\
[Unit]
Before=network-online.target

[Service]
Type=oneshot
RemainAfterExit=true
ExecStart=sh -c 'sleep 2; test ! -d /srv/user-data || cp --preserve=mode /srv/user-data/* /etc/opt/sample-app'

[Install]
WantedBy=multi-user.target
"""
# Answers as the AWS CLI does, from a file: what is asked, word by word, to the answer.
_AWS = """\
#!/usr/bin/python3
import json, sys
*asked, region, place, output, form = sys.argv[1:]
assert (region, place, output, form) == ("--region", "us-east-2", "--output", "json")
asked = " ".join(asked)
with open("/srv/store.json") as file:
    answer = json.load(file).get(asked)
if answer is None:
    print("An error occurred (AccessDeniedException): no answer to", asked, file=sys.stderr)
    sys.exit(254)
print(json.dumps(answer, indent=4))
"""
_STAND_INS = {
    "/usr/bin/cloud-init": _CLOUD_INIT,
    "/etc/systemd/system/cloud-init.service": _CLOUD_INIT_UNIT,
    "/usr/bin/aws": _AWS,
}
# moto takes any.
_KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
_KEYS_OF_PACKER = {"access_key": "test", "secret_key": "test"}


def _for_old_packer(text: str, source_ami: str, **more: object) -> str:
    """The template for Packer 1.6: without what came later, and for an instance that is there already."""
    later = r"(imds_support|deprecate_at|ssh_interface|temporary_key_pair_type) += .*"
    block = r"(data \"amazon-ami\"|metadata_options|temporary_iam_instance_profile_policy_document)"
    for taken_out in (rf"^  {later}\n", rf"^( *){block}.* \{{\n(.*\n)*?\1\}}\n"):
        text, times = re.subn(taken_out, "", text, flags=re.MULTILINE)
        assert times
    assert "data.amazon-ami.amazon_linux.id" in text
    text = text.replace("data.amazon-ami.amazon_linux.id", json.dumps(source_ami))
    settings = "".join(f"  {name} = {json.dumps(value)}\n" for name, value in more.items())
    head = 'source "amazon-ebs" "image" {\n'
    assert head in text
    return text.replace(head, head + settings)


@dataclass(frozen=True)
class Project:
    """A project with an image, and a copy of its template that the Packer here understands."""

    folder: Path

    @property
    def packer(self) -> Path:
        return self.folder / "packer"

    @property
    def template(self) -> Path:
        return self.packer / "sample-app.pkr.hcl"

    def make_old(self, source_ami: str, **more: object) -> None:
        """Do what `_for_old_packer` does in the project itself."""
        (self.packer / "plugins.pkr.hcl").unlink()
        text = self.template.read_text()
        self.template.write_text(_for_old_packer(text, source_ami, **more))

    def settle(self, **variables: object) -> None:
        """Set variables of the roles, as a team with a mirror does."""
        for name, value in variables.items():
            times = 0
            for file in self.folder.glob("ansible/roles/*/defaults/main.yml"):
                said, found = re.subn(rf"(?m)^{name}: .*", f"{name}: {value}", file.read_text())
                file.write_text(said)
                times += found
            assert times == 1, name

    def pack(self, version: str) -> str:
        """Commit all, pack it, and return the commit."""
        commit = release(self.folder, version)
        subprocess.run([self.folder / "package.sh", version], check=True, env=tools.environment())
        return commit

    def pretend_to_pack(self, version: str) -> None:
        (self.folder / "build").mkdir()
        (self.folder / f"build/sample-app-{version}.tar").touch()

    def build(self, machine: Servers, version: str, *arguments: str) -> Done:
        """Build the image, as a person would type it."""
        more = ("-var", "associate_public_ip_address=false", *arguments)
        return machine.run(
            self.folder,
            *("packer", "build", "-color=false", "-var", f"version={version}", *more, "packer"),
            env={"CHECKPOINT_DISABLE": "1"},
        )


def _project(folder: Path, language: str = "nodejs", architecture: str = "x86_64") -> Project:
    folder.mkdir(exist_ok=True)
    kind = _INSTANCE_TYPES[architecture]
    spec = _SPEC.format(language=language, architecture=architecture, instance_type=kind)
    return Project(new_project(folder, spec))


def _packer(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tools.need("packer"), *arguments],
        check=False,
        cwd=folder,
        env={**tools.environment(), "CHECKPOINT_DISABLE": "1", "HOME": str(folder.parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _told(done: subprocess.CompletedProcess[str]) -> str:
    """What it said, as one line: Packer breaks lines where it likes."""
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("language", ["nodejs", "python"])
@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_the_template_is_formatted_and_valid(
    tmp_path: Path, language: str, architecture: str
) -> None:
    """As Packer judges it, for each runtime and each processor."""
    project = _project(tmp_path, language, architecture)
    formatted = _packer(project.folder, "fmt", "-check", "-diff", "packer")
    assert formatted.returncode == 0, formatted.stdout
    assert f'"al2023-ami-2023.*-kernel-6.1-{architecture}"' in project.template.read_text()

    project.make_old(_SOURCE)
    project.pretend_to_pack("v1")
    valid = _packer(project.folder, "validate", "-var", "version=v1", "packer")

    assert valid.returncode == 0, _told(valid)


@pytest.mark.parametrize(
    ("variable", "complaint"),
    [
        ("version=v1/2", "The version must be"),
        ("commit=abc", "The commit must be a whole hash"),
        ("region=here", "The region must be"),
        ('copy_to_regions=["here"]', "Each of copy_to_regions"),
        ('share_with_accounts=["me"]', "Each of share_with_accounts"),
        ("kms_key_id=alias/mine", "The kms_key_id must be the ARN"),
        ("instance_type=small", "The instance_type must be"),
        ("source_name=debian-13-amd64", "The source_name must name"),
        ("subnet_id=subnet-1", "The subnet_id must be"),
        ("volume_gib=7.5", "The volume_gib must be"),
        ("deprecate_after_days=0", "The deprecate_after_days must be"),
        ('test_config={"A B" = "c"}', "The test_config must have"),
        ("version=v2", "sample-app-v2.tar: pack it first"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_started(
    valid: Project, variable: str, complaint: str
) -> None:
    """Each in its own words, and that there is no archive."""
    done = _packer(valid.folder, "validate", "-var", "version=v1", "-var", variable, "packer")

    assert done.returncode != 0
    assert complaint in _told(done)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """One that is well until a setting is wrong."""
    project = _project(tmp_path_factory.mktemp("valid"))
    project.make_old(_SOURCE)
    project.pretend_to_pack("v1")
    done = _packer(project.folder, "validate", "-var", "version=v1", "packer")
    assert done.returncode == 0, _told(done)
    return project


# From here on an image is made, and the instance that it was made on becomes one that is started from it.


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of what stands for AWS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    log = tmp_path_factory.mktemp("moto") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: _answers(f"{endpoint}/moto-api/"), "moto", shown=log.read_text)
        yield endpoint
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url).close()  # noqa: S310 # ours
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def machine(
    engine: Engine, need_servers: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    """An instance that EC2 would have started, with traces of whoever had it before."""
    tools.need("packer")
    need_servers("amazon_linux")
    folder = tmp_path_factory.mktemp("machine")
    with servers(engine, folder, "amazon_linux", app=1, nginx=0) as made:
        instance = made.apps[0]
        for path, text in _STAND_INS.items():
            instance.run(f"cat > {path} && chmod 0755 {path}", stdin=text)
        instance.run(
            "systemctl daemon-reload && systemctl enable --now cloud-init.service"
            " && echo secret > /root/.bash_history && echo secret > /home/ec2-user/.bash_history"
            " && echo secret > /var/log/messages && echo secret > /var/tmp/left"
            " && mkdir -p /var/log/journal && systemctl restart systemd-journald && journalctl --flush"
        )
        yield made


@dataclass(frozen=True)
class Built:
    """An image, and the instance that it was made on, as it was at the end."""

    project: Project
    instance: Server
    ec2: Any
    elsewhere: Any
    """EC2 of the region that gets a copy."""
    failed: str
    """What a build of an app that never gets ready said."""
    images_after_failure: int
    output: str


@pytest.fixture(scope="module")
def built(
    machine: Servers, moto: str, node_mirror: Path, tmp_path_factory: pytest.TempPathFactory
) -> Built:
    """v1 that never gets ready, and then v2 that does."""
    folder = tmp_path_factory.mktemp("image")
    project = _project(folder)
    ec2 = boto3.client("ec2", _REGION, endpoint_url=moto, **_KEYS)
    key = machine.folder / "key"
    ec2.import_key_pair(KeyName="test", PublicKeyMaterial=key.with_suffix(".pub").read_bytes())
    source = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    instance = machine.apps[0]
    project.make_old(
        source,
        **_KEYS_OF_PACKER,
        custom_endpoint_ec2=moto,
        skip_metadata_api_check=True,
        skip_credential_validation=True,
        skip_region_validation=True,
        ssh_host=instance.address,
        ssh_private_key_file=str(key),
        ssh_keypair_name="test",
    )
    with machine.serving(node_mirror) as address:
        project.settle(nodejs_app_mirror=address, sample_app_start_s=10)
        core = project.folder / "app/core.js"
        well = core.read_text()
        assert _READY in well
        core.write_text(well.replace(_READY, BROKEN["core.js"]))
        project.pack("v1")
        failed = project.build(machine, "v1")
        assert failed.code != 0, failed.output
        left = len(ec2.describe_images(Owners=["self"])["Images"])
        core.write_text(well)
        commit = project.pack("v2")
        done = project.build(machine, "v2", "-var", f"commit={commit}")
        assert done.code == 0, done.output
    elsewhere = boto3.client("ec2", _FURTHER, endpoint_url=moto, **_KEYS)
    return Built(project, instance, ec2, elsewhere, failed.output, left, done.output)


def test_an_app_that_does_not_get_ready_makes_no_image(built: Built) -> None:
    """The build says why, in the words of the app, and registers nothing."""
    assert "port 8080 is not ready" in built.failed
    assert "broken" in built.failed
    assert built.images_after_failure == 0
    assert not (built.project.folder / "build/sample-app-v1.vm.json").exists()


def test_the_image_is_registered_and_noted(built: Built) -> None:
    """In each region of the spec, under a name that tells, with tags, in the file that the next step reads."""
    (image,) = built.ec2.describe_images(Owners=["self"])["Images"]
    (copy,) = built.elsewhere.describe_images(Owners=["self"])["Images"]
    manifest = json.loads((built.project.folder / "build/sample-app-v2.vm.json").read_text())
    (noted,) = manifest["builds"]

    ids = dict(one.split(":") for one in noted["artifact_id"].split(","))
    assert ids == {_REGION: image["ImageId"], _FURTHER: copy["ImageId"]}
    assert manifest["last_run_uuid"] == noted["packer_run_uuid"]
    assert noted["custom_data"] == {"version": "v2", "architecture": "x86_64"}
    assert re.fullmatch(r"sample-app-v2-[0-9]{8}-[0-9]{6}", image["Name"])
    tags = {tag["Key"]: tag["Value"] for tag in image["Tags"]}
    source = tags.pop("source-ami")
    assert re.fullmatch("ami-[0-9a-f]+", source)
    assert tags.pop("source-ami-name")
    assert re.fullmatch("[0-9a-f]{40}", tags.pop("commit"))
    assert tags == {
        "Name": "sample-app-v2",
        "app": "sample-app",
        "version": "v2",
        "approach": "vm",
        "owner": tags["owner"],
        "managed-by": "gen",
    }


def test_nothing_of_the_machine_is_left(built: Built) -> None:
    """Keys, names, histories, logs and what was temporary; cloud-init begins anew."""
    run = built.instance.run
    empty = run(
        "cat /etc/machine-id /etc/opt/sample-app/config.env /etc/opt/sample-app/secrets"
    ).stdout
    gone = run(
        "ls -d /etc/ssh/ssh_host_* /root/.*_history /home/*/.*_history /root/.ssh/authorized_keys"
        " /home/*/.ssh/authorized_keys /root/.ansible /home/*/.ansible /var/lib/systemd/random-seed"
        " /var/tmp/left /var/log/journal/* /etc/dnf/vars/releasever /opt/sample-app/releases/.new-*"
        " /etc/opt/sample-app/placeholder"
        " 2> /dev/null",
        check=False,
    ).stdout

    assert empty == ""
    assert gone == ""
    assert run("find /var/log -type f -size +0").stdout == ""
    assert run("cat /srv/cloud-init").stdout.splitlines()[-2:] == [
        "status --wait",
        "clean --logs --seed",
    ]


def test_it_starts_at_boot_and_does_not_run_yet(built: Built) -> None:
    """The target is enabled with one process and its timer; all of it is stopped."""
    run = built.instance.run
    wanted = run("ls /etc/systemd/system/sample-app.target.wants").stdout.split()

    assert run("systemctl is-enabled sample-app.target").stdout.strip() == "enabled"
    assert wanted == ["sample-app-heal@8080.timer", "sample-app@8080.service"]
    running = "systemctl list-units --state=active,activating --plain --no-legend 'sample-app*'"
    assert run(running).stdout == ""


_CONFIG = """\
GREETING="Grüße! \\"a\\" 'b' \\$c \\`e\\` %n #g"
API_TOKEN_FILE=/run/credentials/sample-app@8080.service/secrets_API_TOKEN
"""
_SECRETS = """\
API_TOKEN secretsmanager us-east-2 sample-app/api-token
PASSWORD ssmparameter us-east-2 /sample-app/password
CERTIFICATE secretsmanager us-east-2 sample-app/certificate
"""
_VALUES = {
    "API_TOKEN": b"two lines, and a blank at the end \nhush-hush\n\n",
    "PASSWORD": "hush-hush \"'$(id) `id` %s %% \\n \\ é \U0001f600".encode(),
    "CERTIFICATE": bytes(range(256)),
}
_STORE = {
    "secretsmanager get-secret-value --secret-id sample-app/api-token": {
        "Name": "sample-app/api-token",
        "SecretString": _VALUES["API_TOKEN"].decode(),
    },
    "ssm get-parameter --name /sample-app/password --with-decryption": {
        "Parameter": {"Type": "SecureString", "Value": _VALUES["PASSWORD"].decode()},
    },
    "secretsmanager get-secret-value --secret-id sample-app/certificate": {
        "SecretBinary": base64.b64encode(_VALUES["CERTIFICATE"]).decode(),
    },
}


@dataclass(frozen=True)
class Booted:
    """An instance after its first boot, and what was seen before the store gave all secrets."""

    instance: Server
    waiting: dict[str, str]


@pytest.fixture(scope="module")
def booted(built: Built) -> Booted:
    """The first boot with user data: the store refuses one secret at first."""
    instance = built.instance
    instance.run("mkdir -m 0700 /srv/user-data")
    for name, text in {"config.env": _CONFIG, "secrets": _SECRETS}.items():
        instance.run(f"umask 077 && cat > /srv/user-data/{name}", stdin=text)
    first, *_ = _STORE
    instance.run("cat > /srv/store.json", stdin=json.dumps({first: _STORE[first]}))
    instance.stop()
    instance.engine.docker("start", instance.container)

    def said() -> str:
        return instance.run("journalctl --unit=sample-app-boot", check=False).stdout

    wait_until(lambda: said().count("asking again") >= 2, "it to ask again", shown=said)
    look = "systemctl show --property=ActiveState --value"
    waiting = {
        "said": said(),
        "boot": instance.run(f"{look} sample-app-boot").stdout.strip(),
        "app": instance.run(f"{look} sample-app@8080").stdout.strip(),
        "secrets": instance.run("ls /run/sample-app/secrets", check=False).stdout,
    }
    instance.run("cat > /srv/store.json", stdin=json.dumps(_STORE))
    instance.wait_until_up()
    wait_until(lambda: _is_well(instance), "the app to be ready")
    return Booted(instance, waiting)


def test_the_app_waits_for_its_secrets(booted: Booted) -> None:
    """One that cannot be read is asked for again, and the app is not started until it can."""
    assert (
        "PASSWORD cannot be read from ssmparameter in us-east-2: asking again"
        in booted.waiting["said"]
    )
    assert "AccessDeniedException" in booted.waiting["said"]
    assert booted.waiting["boot"] == "activating"
    assert booted.waiting["app"] == "inactive"
    assert booted.waiting["secrets"] == ""


def test_the_app_answers_with_the_config_of_the_environment(booted: Booted) -> None:
    """At once after the boot, as the version that was baked in."""
    target = Target(booted.instance.address, 8080)

    assert json.loads(get(target, "/version").body)["version"] == "v2"
    assert "Grüße! \"a\" 'b' $c `e` %n #g" in get(target, "/").body.decode()


def test_the_secrets_are_there_byte_by_byte(booted: Booted) -> None:
    """For the process of the app alone, in memory, and nowhere else."""
    run = booted.instance.run
    folder = "/run/credentials/sample-app@8080.service"
    pid = run("systemctl show --property=MainPID --value sample-app@8080").stdout.strip()
    read = (
        "import base64, os, sys; os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[1]));"
        "print(base64.b64encode(open(sys.argv[3], 'rb').read()).decode())"
    )
    for name, value in _VALUES.items():
        who = run(f"stat --format='%u %g' /proc/{pid}").stdout.strip()
        seen = run(f'python3 -c "{read}" {who} {folder}/secrets_{name}').stdout
        assert base64.b64decode(seen) == value, name
        stranger = run(f'python3 -c "{read}" 65534 65534 {folder}/secrets_{name}', check=False)
        assert "PermissionError" in stranger.stderr, name
        assert run(f"stat --format='%a %U' /run/sample-app/secrets/{name}").stdout == "400 root\n"
    assert run("stat --format='%a %U' /run/sample-app").stdout == "700 root\n"
    assert run("findmnt --noheadings --output FSTYPE --target /run/sample-app").stdout == "tmpfs\n"
    assert run("ls -A /run/sample-app/secrets").stdout.split() == sorted(_VALUES)


def test_no_value_is_in_a_log_or_on_the_disk(booted: Booted) -> None:
    """Not in the journal, not in another log, not among the files of the app, nor in an environment."""
    run = booted.instance.run
    places = "/var/log /etc/opt/sample-app /opt/sample-app /tmp /var/tmp /root /home"
    found = run(f"grep -rlF hush-hush {places}; true").stdout
    environments = run("cat /proc/[0-9]*/environ | grep -acF hush-hush", check=False).stdout.strip()

    assert found == ""
    assert environments == "0"
    assert "hush-hush" not in run("journalctl --no-pager --output=export", check=False).stdout


def test_the_process_has_the_instance_for_itself(booted: Booted) -> None:
    """A share of its memory, of which V8 takes its part; the rest of the sandbox is that of servers."""
    run = booted.instance.run
    total = int(run("awk '/^MemTotal:/ {print $2}' /proc/meminfo").stdout) * 1024
    shown = run(
        "systemctl show sample-app@8080 --property=MemoryMax,DynamicUser,EnvironmentFiles,IPAddressDeny"
    ).stdout
    unit = dict(line.split("=", 1) for line in shown.splitlines())
    pid = run("systemctl show --property=MainPID --value sample-app@8080").stdout.strip()
    environment = run(f"tr '\\0' '\\n' < /proc/{pid}/environ").stdout
    heap = re.search(r"^NODE_OPTIONS=.*--max-old-space-size=(\d+)$", environment, re.MULTILINE)

    assert 0.79 * total < int(unit["MemoryMax"]) < 0.81 * total
    assert heap
    assert 0.59 * total < int(heap[1]) * 2**20 < 0.61 * total
    assert unit["DynamicUser"] == "yes"
    assert "169.254.169.254/32" in unit["IPAddressDeny"]
    assert "/opt/sample-app" not in unit["EnvironmentFiles"]


def test_it_is_an_instance_of_its_own_and_heals(booted: Booted) -> None:
    """It has a name and keys of its own; the timer that asks the app is on."""
    run = booted.instance.run

    assert len(run("cat /etc/machine-id").stdout.strip()) == 32
    assert run("systemctl is-active sample-app-heal@8080.timer").stdout == "active\n"
    pid = run("systemctl show --property=MainPID --value sample-app@8080").stdout.strip()
    run(f"kill -KILL {pid}")

    def again() -> bool:
        now = run("systemctl show --property=MainPID --value sample-app@8080").stdout.strip()
        return now not in ("0", pid) and _is_well(booted.instance)

    wait_until(again, "the app to be back")


def test_a_new_value_is_read_on_demand(booted: Booted) -> None:
    """By a restart of what the boot did, which starts the app again with it."""
    run = booted.instance.run
    store = json.loads(json.dumps(_STORE))
    store["ssm get-parameter --name /sample-app/password --with-decryption"]["Parameter"] = {
        "Value": "another"
    }
    run("cat > /srv/store.json", stdin=json.dumps(store))
    run("systemctl restart sample-app-boot")
    wait_until(lambda: _is_well(booted.instance), "the app to be back")

    folder = "/run/credentials/sample-app@8080.service"
    assert run(f"cat {folder}/secrets_PASSWORD").stdout == "another"
    assert run("ls -A /run/sample-app").stdout.split() == ["node.env", "secrets"]


def _is_well(instance: Server) -> bool:
    try:
        return get(Target(instance.address, 8080), "/readyz").status == 200
    except OSError:
        return False
