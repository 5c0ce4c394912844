"""The server approach on servers: deployed, rolled and taken back under load, and what goes wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from generator.render.quoting import FILTERS
from tests.live.containers import wait_until
from tests.live.engine import Engine
from tests.live.fleet import BROKEN, GREETING, SECRET, UNWELL, Fleet
from tests.live.fleet import fleet as running
from tests.live.http import Target, get
from tests.live.load import Load
from tests.live.servers import Server
from tests.strings import LEGAL, samples


@pytest.fixture(
    scope="module", params=["debian", pytest.param("amazon_linux", marks=pytest.mark.long)]
)
def either(
    request: pytest.FixtureRequest,
    engine: Engine,
    need_servers: Callable[[str], None],
    node_mirror: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    """Servers of one system and then of the other: previewed, one broken version, then v1."""
    need_servers(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    with running(engine, folder, node_mirror, request.param) as fleet:
        fleet.release("v1")
        preview = ("--check", "--diff", "-e", "sample_app_version=v1")
        fleet.earlier["preview"] = fleet.play("configure_sample_app_playbook.yml", *preview)
        if request.param == "debian":
            fleet.release("v0", BROKEN)
            fleet.earlier["broken"] = fleet.make("deploy-server", "VERSION=v0")
        done = fleet.make("deploy-server", "VERSION=v1")
        assert done.code == 0, done.output
        yield fleet


@pytest.fixture(scope="module")
def fleet(either: Fleet) -> Fleet:
    """For what is the same on both systems: on the first alone."""
    if either.servers.apps[0].user != "admin":
        pytest.skip("tried on the other system")
    return either


def test_a_preview_of_new_servers(either: Fleet) -> None:
    """A dry run on servers that have nothing yet says what would be brought, and ends well."""
    done = either.earlier["preview"]

    assert done.code == 0, done.output
    assert "would be brought from" in done.output


def test_the_very_first_version_is_broken(fleet: Fleet) -> None:
    """There is nothing to go back to, which is said; the next one is not in its way."""
    done = fleet.earlier["broken"]

    assert done.code != 0
    assert "v0 failed in prod, and there is no release before it" in done.output, done.output


def test_from_nothing(either: Fleet) -> None:
    """All three serve the config as it was written, and the secret's value is not among it."""
    assert [get(either.front, "/").body.decode() for _ in range(9)] == [GREETING] * 9
    assert either.running() == ["v1"] * 3
    assert either.noted() == either.asked() == "v1"
    for server in either.servers.apps:
        environment = "cat /proc/$(systemctl show -P MainPID sample-app@8081)/environ"
        assert "hush" not in server.run(environment).stdout.replace("\0", "\n")
        assert server.run("cat /run/credentials/*8081*/API_TOKEN", check=False).stdout in (
            "",
            "hush",
        )
        assert server.run("systemctl is-enabled sample-app.target").stdout.strip() == "enabled"


def test_again(either: Fleet) -> None:
    """The same once more changes nothing, on no server."""
    done = either.make("deploy-server", "VERSION=v1")

    assert done.code == 0, done.output
    assert [recap.changed for recaps in done.recaps for recap in recaps.values()] == [0] * 8


@pytest.mark.long
def test_a_change_of_config_or_of_a_secret(fleet: Fleet) -> None:
    """The same version with other config is a release that one can go back from; another value of
    a secret comes with a restart. (On one server: it is the same on each.)"""
    one, rotation = ("--limit", "app-1"), {"TOKEN": "rotated"}
    server = fleet.servers["app-1"]
    target = Target(server.address, 8080)
    before = fleet.processes()

    rotated = fleet.play("configure_sample_app_playbook.yml", *one, env=rotation)
    restarted = fleet.processes()
    config = '{"sample_app_config": {"GREETING": "changed"}}'
    changed = fleet.play("configure_sample_app_playbook.yml", *one, "-e", config, env=rotation)
    greeted = get(target, "/").body.decode()
    back = fleet.play("rollback_playbook.yml", *one, env=rotation)

    for done in (rotated, changed, back):
        assert done.code == 0, done.output
        assert "rotated" not in done.output
    assert server.run("cat /opt/sample-app/secrets/API_TOKEN").stdout == "rotated"
    assert restarted[0] != before[0]
    assert restarted[1:] == before[1:]
    assert greeted == "changed"
    assert get(target, "/").body.decode() == GREETING


def test_rolling_update(either: Fleet, record_property: Callable[[str, object], None]) -> None:
    """A new version replaces the old one without a request that fails."""
    either.release("v2")

    with either.load(record_property):
        done = either.make("deploy-server", "VERSION=v2")

    assert done.code == 0, done.output
    assert either.running() == ["v2"] * 3
    assert either.noted() == either.asked() == "v2"
    assert either.drained() == ""


def test_rollback(fleet: Fleet, record_property: Callable[[str, object], None]) -> None:
    """And so does the old one the new."""
    with fleet.load(record_property):
        done = fleet.make("rollback-server")

    assert done.code == 0, done.output
    assert fleet.running() == ["v1"] * 3
    assert fleet.noted() == fleet.asked() == "v1"


def test_change_of_nginx(fleet: Fleet, record_property: Callable[[str, object], None]) -> None:
    """A change of its configuration is reloaded: the process stays, no request fails."""
    balancer = fleet.servers.balancers[0]
    master = balancer.run("systemctl show --property MainPID nginx").stdout

    with fleet.load(record_property):
        done = fleet.play("configure_nginx_playbook.yml", "-e", "nginx_body_size=2m")

    assert done.code == 0, done.output
    assert done.changed == {"nginx-1": 2}, done.output
    assert balancer.run("systemctl show --property MainPID nginx").stdout == master
    assert "client_max_body_size 2m;" in balancer.run("cat /etc/nginx/nginx.conf").stdout


def test_broken_version(fleet: Fleet, record_property: Callable[[str, object], None]) -> None:
    """It stops at the first server, which gets the old release again; nobody notices."""
    fleet.release("v3", BROKEN)
    before = fleet.processes()

    with fleet.load(record_property):
        done = fleet.make("deploy-server", "VERSION=v3")

    assert done.code != 0
    assert 'port 8080 is not ready, and says: {"status":"broken"}' in done.output, done.output
    assert "v3 failed in prod; what ran before serves" in done.output
    # At once and by itself, before release.sh goes back everywhere.
    assert "serves there again" in done.output
    assert fleet.running() == ["v1"] * 3
    assert fleet.processes()[1:] == before[1:]
    assert fleet.drained() == ""
    assert fleet.noted() == fleet.asked() == "v1"


@pytest.mark.long
def test_unwell_version(fleet: Fleet, record_property: Callable[[str, object], None]) -> None:
    """One that does not stay well while it is watched is taken back from all servers."""
    fleet.release("v4", UNWELL)

    with fleet.load(record_property):
        done = fleet.make("deploy-server", "VERSION=v4")

    assert done.code != 0
    assert "did not stay well" in done.output, done.output
    assert "v4 failed in prod; what ran before serves" in done.output
    assert fleet.running() == ["v1"] * 3
    assert fleet.drained() == ""
    assert fleet.noted() == fleet.asked() == "v1"


@pytest.mark.long
def test_two_at_once(fleet: Fleet) -> None:
    """The second is told who is at it, and does nothing; the first goes on to its end."""
    first = fleet.servers.begin(
        fleet.project, "make", "rollback-server", "TO=v2", "ENV=prod", env=SECRET
    )
    lock = "cat /run/sample-app.rollout"
    balancer = fleet.servers.balancers[0]
    wait_until(
        lambda: balancer.run(lock, check=False).returncode == 0, "the rollout to begin", seconds=120
    )

    second = fleet.make("deploy-server", "VERSION=v1")
    done = first.wait()

    assert second.code != 0
    assert "Another rollout is under way: rollback prod v2" in second.output, second.output
    assert "v1 was not deployed to prod, and nothing that serves there was changed" in second.output
    assert done.code == 0, done.output
    assert fleet.running() == ["v2"] * 3
    assert balancer.run(lock, check=False).returncode != 0


@pytest.mark.long
def test_interrupted(fleet: Fleet) -> None:
    """A machine that dies in the middle leaves a mixture that serves, and one can go back from."""
    first = fleet.servers.begin(fleet.project, "make", "rollback-server", "ENV=prod", env=SECRET)
    wait_until(lambda: "v1" in fleet.running(), "a server to be replaced", seconds=240)
    wait_until(lambda: fleet.drained() != "", "the next one to be drained", seconds=60)
    first.kill()

    refused = fleet.make("rollback-server")
    done = fleet.make("unlock-server", "rollback-server")

    assert "make unlock-server ENV=prod" in refused.output, refused.output
    assert done.code == 0, done.output
    assert fleet.running() == ["v2"] * 3
    assert fleet.drained() == ""


@pytest.mark.long
def test_one_of_a_batch_fails(fleet: Fleet) -> None:
    """It gets the old release again; the others of its batch end what they do, and then go back."""
    hosts = fleet.project / "ansible/inventories/prod/servers.yml"
    kept = hosts.read_text()
    # Never ready, on this one alone.
    hosts.write_text(
        kept.replace("    app-2:\n", "    app-2:\n      sample_app_ready_path: /nowhere\n")
    )
    variables = hosts.parent / "group_vars/sample_app_instances.yml"
    text = variables.read_text()
    assert "sample_app_batches: [1]" in text
    variables.write_text(text.replace("sample_app_batches: [1]", "sample_app_batches: [3]"))
    fleet.release("v5")

    done = fleet.make("deploy-server", "VERSION=v5")

    hosts.write_text(kept)
    variables.write_text(text)
    assert done.code != 0
    assert "v5 failed in prod; what ran before serves" in done.output, done.output
    assert [recap["app-1"].rescued for recap in done.recaps] == [0, 0]
    assert fleet.running() == ["v2"] * 3
    assert fleet.drained() == ""


# What ansible.cfg says, in fewer seconds: how long it takes until ssh gives a server up.
_IMPATIENT = {
    "ANSIBLE_TIMEOUT": "4",
    "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=60s"
    " -o ServerAliveInterval=2 -o ServerAliveCountMax=2",
}


@pytest.mark.long
def test_a_server_is_lost_midway(fleet: Fleet) -> None:
    """The others go back, it gets no requests when it comes to life again, until the next rollout."""
    server = fleet.servers["app-2"]
    fleet.release("v6")
    running = fleet.servers.begin(
        fleet.project,
        *("make", "deploy-server", "VERSION=v6", "ENV=prod"),
        env={**SECRET, **_IMPATIENT},
    )
    wait_until(lambda: fleet.running()[1] == "v6", "it to be replaced", seconds=240)
    server.kill()

    done = running.wait()

    assert done.code != 0
    assert "v6 failed in prod; what ran before serves" in done.output, done.output
    assert fleet.running()[0] == fleet.running()[2] == "v2"
    server.start()
    assert fleet.drained() == "/etc/nginx/backends/app-2.conf\n"
    done = fleet.make("deploy-server", "VERSION=v6")
    assert done.code == 0, done.output
    assert fleet.running() == ["v6"] * 3
    assert fleet.drained() == ""
    # rollback.keep is 2; v2 is the one to go back to.
    kept = fleet.servers["app-1"].run("ls /opt/sample-app/releases").stdout.split()
    assert {name.rpartition("-")[0] for name in kept} == {"v6", "v5", "v4", "v2"}


@pytest.mark.long
def test_what_stops_it_before_it_begins(fleet: Fleet) -> None:
    """A server that does not answer, is of another kind or is full: said, and nothing is touched."""
    before = fleet.processes()
    fleet.release("v7")

    def refused(saying: str, *words: str) -> None:
        version = ("-e", "sample_app_version=v7")
        done = fleet.play("configure_sample_app_playbook.yml", *version, *words)
        assert done.code != 0
        assert saying in " ".join(done.output.split()), done.output
        assert fleet.processes() == before
        assert get(fleet.front, "/").status == 200

    server = fleet.servers["app-2"]
    refused(
        "app-1 is x86_64, and sample-app is made for aarch64",
        "-e",
        "sample_app_architecture=aarch64",
    )
    refused("build/sample-app-v8.tar is not there", "-e", "sample_app_version=v8")
    server.run(
        "cp -a /opt/sample-app/releases /tmp/kept"
        " && mount -t tmpfs -o size=12m full /opt/sample-app/releases"
        " && cp -a /tmp/kept/. /opt/sample-app/releases"
    )
    refused("app-2 has 11 MiB left for /opt/sample-app, and the release wants")
    server.run("umount /opt/sample-app/releases && rm -r /tmp/kept")
    server.run("systemctl stop ssh ssh.socket")
    refused("app-2 cannot be reached, and nothing was changed anywhere")
    # Nor does release.sh go back from what did not begin: its way back leaves out who does not answer.
    done = fleet.make("deploy-server", "VERSION=v7")
    server.run("systemctl start ssh.socket ssh")
    assert "v7 was not deployed to prod, and nothing that serves there was changed" in done.output
    assert done.code != 0
    assert fleet.drained() == ""
    assert fleet.processes() == before


def test_nothing_to_go_back_to(fleet: Fleet) -> None:
    """A version that no server has is said, with those that it has."""
    before = fleet.running()

    done = fleet.make("rollback-server", "TO=v9")

    assert done.code != 0
    assert "has no release of v9, and nothing was changed" in " ".join(done.output.split()), (
        done.output
    )
    assert fleet.running() == before


@pytest.mark.long
def test_a_process_that_hangs(fleet: Fleet) -> None:
    """It is found by the timer and started again; the other process serves meanwhile."""
    server = fleet.servers["app-1"]
    show = "systemctl show --property MainPID --value sample-app@8080"
    hangs = server.run(show).stdout
    server.run(f"kill -STOP {hangs}")

    wait_until(lambda: server.run(show).stdout not in (hangs, "0\n"), "a new process", seconds=180)

    wait_until(lambda: _is_ready(server, 8080), "it to be ready")


@pytest.mark.long
def test_a_server_without_power(
    fleet: Fleet, record_property: Callable[[str, object], None]
) -> None:
    """At most what it had in hand fails; when it is back, it serves what it served."""
    server, running = fleet.servers["app-3"], fleet.running()
    with Load(fleet.front, rate=200, seconds=60, resends=True) as load:
        wait_until(lambda: load.answered > 400, "the load to run")
        server.kill()
        at = time.monotonic()
        wait_until(lambda: time.monotonic() > at + 10, "what its loss costs")
    record_property("load", f"one of three killed: {load.result}")
    # 200 a second, each answered in some milliseconds: a handful is in hand at a time.
    assert (
        load.result.failed.total() + load.result.statuses.total() - load.result.statuses[200] <= 5
    )

    server.start()

    wait_until(lambda: _is_ready(server, 8081), "it to be ready")
    assert fleet.running() == running


def _is_ready(server: Server, port: int) -> bool:
    try:
        return get(Target(server.address, port), "/readyz").status == 200
    except OSError:  # nobody listens yet
        return False


def test_every_value_comes_back(fleet: Fleet, tmp_path: Path) -> None:
    """Any legal config, and any word of a command, through YAML, Ansible and systemd to a process."""
    values = samples(LEGAL)
    words = [word for word in values if word and len(word) < 200][:120]
    told = "import json, sys; print(json.dumps(sys.argv[1:]), flush=True)"
    (tmp_path / "variables.yml").write_text(
        "".join(
            [
                "sample_app_version: v0\nsample_app_config:\n",
                *(f"  V{n}: {FILTERS['ansible'](value)}\n" for n, value in enumerate(values)),
                "sample_app_command:\n",
                *(f"  - {FILTERS['ansible'](word)}\n" for word in ["python3", "-c", told, *words]),
            ]
        )
    )
    for source, target in (
        ("config.env", "/root/values"),
        ("app.service", "/run/systemd/system/words@.service"),
    ):
        arguments = f"src=roles/sample_app/templates/{source}.j2 dest={target}"
        done = fleet.play_one(
            "app-1", "ansible.builtin.template", arguments, tmp_path / "variables.yml"
        )
        assert done.code == 0, done.output
    server = fleet.servers["app-1"]

    read = server.run(
        "systemd-run --quiet --wait --pipe --property EnvironmentFile=/root/values env -0"
    )
    server.run(
        "sed -i '/^Restart=/d' /run/systemd/system/words@.service && systemctl daemon-reload"
    )
    server.run(
        "systemctl start words@1 && while systemctl --quiet is-active words@1; do sleep 0.1; done"
    )

    found = dict(line.split("=", 1) for line in read.stdout.split("\0") if "=" in line)
    assert [found.get(f"V{n}") for n in range(len(values))] == values
    assert (
        json.loads(server.run("journalctl --unit words@1 --output cat --grep '^\\['").stdout)
        == words
    )
