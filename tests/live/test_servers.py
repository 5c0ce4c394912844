"""The servers that stand in for a cloud's: what tests of roles take for granted."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.containers import wait_until
from tests.live.engine import Engine
from tests.live.http import Target, get
from tests.live.servers import Server, Servers, servers

SharedServers = Callable[[str, int, int], Servers]

_FACTS = {
    "debian": ("Debian", "Debian", "13", "apt"),
    "amazon_linux": ("Amazon", "RedHat", "2023", "dnf"),
}
_PLAYBOOK = """\
- name: Install nginx, and the Python of an app
  hosts: sample_app_instances
  become: true
  tasks:
    - name: Facts are those of the system
      ansible.builtin.assert:
        that:
          - ansible_facts.distribution == distribution
          - ansible_facts.os_family == os_family
          - ansible_facts.distribution_major_version == major_version
          - ansible_facts.pkg_mgr == pkg_mgr
          - ansible_facts.service_mgr == "systemd"
          - ansible_facts.user_id == "root"
    - name: Packages are there
      ansible.builtin.package:
        name: [nginx, logrotate, "{{ 'python3.13' if pkg_mgr == 'dnf' else 'python3-venv' }}"]
    - name: An environment for Python can be made
      ansible.builtin.command: python3.13 -m venv /opt/venv
      args:
        creates: /opt/venv/bin/pip
    - name: It serves
      ansible.builtin.systemd_service:
        name: nginx
        state: started
        enabled: true
    - name: It answers
      ansible.builtin.uri:
        url: http://127.0.0.1/
"""
# What a careful unit asks for, of systemd and so of the container.
_UNIT = """\
[Unit]
Description=Hardened, port %i

[Service]
DynamicUser=yes
LoadCredential=password:/etc/secret
Environment=PASSWORD_FILE=%d/password PORT=%i
ExecStart=/usr/bin/python3 -u /opt/app/current/serve.py
Restart=always
RestartSec=1
MemoryMax=64M
MemorySwapMax=0
ProtectSystem=strict
ProtectHome=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
LogsDirectory=app
"""
# Enabled is the target: `systemctl enable` of a unit that is a link makes links to the file at its
# end, so the unit would stay the one of the first release.
_TARGET = """\
[Unit]
Description=All of the app
Wants=app@8080.service

[Install]
WantedBy=multi-user.target
"""
_SERVE = """\
import http.server, os, pathlib, socket

def tried(what):
    try:
        return what() or "done"
    except OSError as problem:
        return type(problem).__name__

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/eat":
            eaten = b"x" * 200_000_000
        body = "\\n".join([
            "VERSION",
            pathlib.Path(os.environ["PASSWORD_FILE"]).read_text(),
            str(os.getuid() not in (0, 65534)),
            tried(lambda: pathlib.Path("/usr/x").touch()),
            tried(lambda: pathlib.Path("/etc/secret").read_text()),
            tried(lambda: pathlib.Path("/tmp/x").touch()),
            tried(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()),
        ]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        print(self.path)

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(params=["debian", "amazon_linux"], scope="module")
def system(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def both(shared_servers: SharedServers, system: str) -> Servers:
    return shared_servers(system, 2, 1)


@pytest.fixture
def project(both: Servers, tmp_path: Path) -> Path:
    """A folder with an inventory of the servers, as a project's `ansible`."""
    inventory = tmp_path / "inventories/prod"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "inventory.aws_ec2.yml").write_text("plugin: amazon.aws.aws_ec2\n")
    (inventory / "group_vars/all.yml").write_text(
        "ansible_ssh_common_args: -o ProxyCommand=/bin/false\n"
    )
    (tmp_path / "ansible.cfg").write_text(
        "[defaults]\ninventory = inventories/prod/servers.yml\n"
        "[ssh_connection]\npipelining = true\n"
    )
    both.write_inventory(inventory, "sample_app")
    return tmp_path


def test_ansible_configures_and_finds_nothing_to_do_the_second_time(
    both: Servers, system: str, project: Path
) -> None:
    """Over ssh, as the system's user with sudo: its facts, its packages, its services."""
    (project / "playbook.yml").write_text(_PLAYBOOK)
    names = ("distribution", "os_family", "major_version", "pkg_mgr")
    facts = json.dumps(dict(zip(names, _FACTS[system], strict=True)))

    first = both.run(project, "ansible-playbook", "playbook.yml", "--extra-vars", facts)
    second = both.run(project, "ansible-playbook", "playbook.yml", "--extra-vars", facts)

    assert first.code == 0, first.output
    assert set(first.recap) == {"app-1", "app-2"}
    assert first.changed["app-1"] >= 2
    assert (second.code, second.changed) == (0, {}), second.output
    assert get(Target(both["app-1"].address, 80), "/").status == 200


def test_a_failure_is_told_by_host(both: Servers, project: Path) -> None:
    """The recap says which host failed, and the exit code is that of ansible."""
    (project / "playbook.yml").write_text(
        "- name: Fail on one\n  hosts: all\n  tasks:\n    - name: Fail\n"
        "      ansible.builtin.command: test {{ inventory_hostname }} != app-2\n"
    )

    done = both.run(project, "ansible-playbook", "playbook.yml")

    assert done.code == 2, done.output
    assert {host: recap.failed for host, recap in done.recap.items()} == {
        "app-1": 0,
        "app-2": 1,
        "nginx-1": 0,
    }


def test_a_server_with_another_key_is_refused(both: Servers, project: Path) -> None:
    """Strict checking of host keys is on: a server that is not the one we know gets no command."""
    known = project / "inventories/prod/known_hosts"
    lines = known.read_text().splitlines()
    keys = [line.split(" ", 1)[1] for line in lines]
    assert len(set(keys)) == 3
    address = both["app-2"].address
    known.write_text("\n".join([*lines[:1], f"{address} {keys[0]}", *lines[2:]]) + "\n")

    done = both.run(project, "ansible", "all", "--module-name=ansible.builtin.ping")

    assert done.code == 4, done.output
    assert done.output.count("UNREACHABLE") == 1
    assert f"{address}" in done.output
    assert "verification failed" in done.output


def test_a_command_can_be_killed(both: Servers, project: Path) -> None:
    """A run that dies halfway leaves no process behind on this machine."""
    (project / "playbook.yml").write_text(
        "- name: Wait\n  hosts: app-1\n  gather_facts: false\n  tasks:\n    - name: Wait\n"
        "      ansible.builtin.command: sh -c 'touch /run/waiting && sleep 30'\n"
        "      become: true\n"
    )
    there = both["app-1"]
    running = both.begin(project, "ansible-playbook", "playbook.yml")
    wait_until(lambda: there.run("test -e /run/waiting", check=False).returncode == 0, "the task")
    assert there.address in _commands()

    running.kill()

    assert running.process.returncode == -9
    assert there.address not in _commands()
    assert str(project) not in _commands()


def _commands() -> str:
    """The command lines of this machine's processes."""
    return subprocess.run(
        ["ps", "-ewwo", "args"], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def app(both: Servers) -> Iterator[Server]:
    """A server with a hardened unit, reached by links, wanted at boot and started on port 8080."""
    server = both["app-1"]
    for release in "12":
        folder = f"/opt/app/releases/{release}"
        server.run(f"mkdir -p {folder} && cat > {folder}/app@.service", stdin=_UNIT)
        server.run(f"cat > {folder}/serve.py", stdin=_SERVE.replace("VERSION", release))
    server.run("cat > /etc/systemd/system/app.target", stdin=_TARGET)
    server.run(
        "echo -n hush > /etc/secret && chmod 0400 /etc/secret"
        " && ln -sfn releases/1 /opt/app/current"
        " && ln -sfn /opt/app/current/app@.service /etc/systemd/system/app@.service"
        " && systemctl daemon-reload && systemctl enable --now app.target"
    )
    yield server
    server.run(
        "systemctl disable --now app.target; systemctl stop app@8080"
        "; rm -rf /opt/app /etc/secret /etc/systemd/system/app@.service"
        " /etc/systemd/system/app.target; systemctl daemon-reload; systemctl reset-failed"
    )


def _answer(server: Server) -> list[str]:
    target = Target(server.address, 8080)

    def answers() -> bool:
        try:
            return get(target, "/").status == 200
        except OSError:
            return False

    def journal() -> str:
        return server.run("journalctl --no-pager --lines=30 --unit='app@*'").stdout

    wait_until(answers, "an answer", shown=journal, seconds=20)
    return get(target, "/").body.decode().splitlines()


def test_the_sandbox_of_a_unit_holds(app: Server) -> None:
    """Credentials arrive; the file system, the secret's source and raw sockets are closed."""
    version, password, unprivileged, system, secret, scratch, packet = _answer(app)

    assert (version, password, unprivileged) == ("1", "hush", "True")
    assert (system, secret, scratch) == ("OSError", "PermissionError", "done")
    assert packet == "OSError"
    assert app.run("ls /tmp/x", check=False).returncode != 0


def test_memory_has_a_limit(app: Server) -> None:
    """A unit that takes more than its MemoryMax is killed, and comes back."""
    _answer(app)
    first = app.run("systemctl show -P MainPID app@8080").stdout

    with pytest.raises(ConnectionResetError):
        get(Target(app.address, 8080), "/eat")

    _answer(app)
    assert app.run("systemctl show -P MainPID app@8080").stdout != first
    assert "status=9/KILL" in app.run("journalctl --no-pager -u app@8080").stdout


def test_a_linked_unit_outlives_a_reboot_and_follows_its_link(app: Server) -> None:
    """Reached through two links: after a boot it is back, after a move of one it is the new."""
    app.stop()
    app.start()
    assert _answer(app)[0] == "1"

    changed = _UNIT.replace("Hardened", "The second")
    app.run("cat > /opt/app/releases/2/app@.service", stdin=changed)
    app.run("ln -sfn releases/2 /opt/app/current && systemctl daemon-reload")
    app.run("systemctl restart app@8080")

    assert _answer(app)[0] == "2"
    description = app.run("systemctl show -P Description app@8080").stdout.strip()
    assert description == "The second, port 8080"


def test_a_server_without_power_comes_back_where_it_was(app: Server) -> None:
    """Killed, it is unreachable; started again it has its address, its key and its unit."""
    app.kill()
    with pytest.raises(OSError):  # noqa: PT011 # refused or unreachable: both are right
        get(Target(app.address, 8080), "/")
    app.start()

    assert _answer(app)[0] == "1"


def test_a_server_that_hangs(app: Server) -> None:
    """Paused, it takes a connection and says nothing; resumed, it goes on."""
    _answer(app)
    app.pause()
    try:
        with socket.create_connection((app.address, 8080), timeout=2) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(1)
    finally:
        app.resume()
    assert _answer(app)[0] == "1"


def test_servers_reach_the_mirror(both: Servers, node_mirror: Path) -> None:
    """Node comes from this machine: the archive fits its checksum and its program runs."""
    (release,) = node_mirror.iterdir()
    digest, archive = (release / "SHASUMS256.txt").read_text().split()
    assert hashlib.sha256((release / archive).read_bytes()).hexdigest() == digest

    with both.serving(node_mirror) as url:
        said = both["nginx-1"].run(
            f"cd /root && curl -sSfO {url}/{release.name}/{archive} && tar -xzf {archive}"
            f" && {archive.removesuffix('.tar.gz')}/bin/node --version"
        )

    assert said.stdout.strip() == release.name


def test_nothing_is_left(
    engine: Engine, need_servers: Callable[[str], None], tmp_path: Path
) -> None:
    """After the block no container, network or command is left, whatever happened in it."""
    need_servers("debian")
    names = []

    def fail() -> None:
        with servers(engine, tmp_path / "servers", app=1, nginx=0) as these:
            names.append(these.apps[0].container)
            these.begin(tmp_path, "sleep", "98765")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    network = names[0].removesuffix("-app-1")
    assert not engine.docker("ps", "--all", "--quiet", f"--filter=name={network}")
    assert not engine.docker("network", "ls", "--quiet", f"--filter=name={network}")
    assert "sleep 98765" not in _commands()
