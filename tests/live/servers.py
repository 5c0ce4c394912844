"""Servers for Ansible: containers with systemd and sshd, and the command that configures them.

What is real: systemd, sshd, sudo, the package manager, the network between them. What is not: the
kernel is this machine's, and `amazon_linux` is a Debian that calls itself so (tools/images).
"""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from os import kill
from pathlib import Path

import yaml

from tests import tools
from tests.live.containers import wait_until
from tests.live.engine import Engine

# By the name that a spec has for the system.
USERS = {"debian": "admin", "amazon_linux": "ec2-user"}
_IMAGES = {"debian": "local/vm-debian:trixie", "amazon_linux": "local/vm-amazon:2023"}
_INSTALLED_BY = {"debian": "image-vm-debian", "amazon_linux": "image-vm-amazon"}
_PROGRAMS = {"ssh": "ssh", "ssh-keygen": "ssh", "ansible-playbook": "ansible"}
# What an init and the sandboxes of units ask for; each server has control groups of its own.
_INIT = (
    "--cap-add=SYS_ADMIN",
    "--cap-add=NET_ADMIN",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--cgroupns=private",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    "--tmpfs=/tmp:exec",
)
_RECAP = re.compile(
    r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s+"
    r"skipped=(\d+)\s+rescued=(\d+)\s+ignored=(\d+)",
    re.MULTILINE,
)


class NoServersError(Exception):
    """No servers can run on this machine; the text says why, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True)
class Server:
    """A running server; `name` is the one in the inventory. It keeps its address for life."""

    engine: Engine
    name: str
    container: str
    address: str
    user: str

    def run(
        self, command: str, *, stdin: str = "", check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command on it as root, not by way of ssh; a failure shows its output."""
        done = subprocess.run(
            ["docker", "exec", "--interactive", self.container, "bash", "-c", command],
            check=False,
            env=self.engine.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if check and done.returncode:
            shown = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{self.name}: {command}: exit {done.returncode}\n{shown}")
        return done

    def kill(self) -> None:
        """Take the power away: no connection is closed, nothing answers at its address."""
        self.engine.docker("kill", self.container)

    def stop(self) -> None:
        """Shut it down in order, as before a reboot."""
        self.engine.docker("stop", "--time=60", self.container)

    def start(self) -> None:
        """Boot it again; what was in memory, /run and /tmp is gone."""
        self.engine.docker("start", self.container)
        self.wait_until_up()

    def pause(self) -> None:
        """Let it hang: its kernel takes connections, no process answers."""
        self.engine.docker("pause", self.container)

    def resume(self) -> None:
        self.engine.docker("unpause", self.container)

    def wait_until_up(self) -> None:
        """Wait until systemd has started all; a unit that failed is a failure."""

        def up() -> bool:
            state = self.run("systemctl is-system-running", check=False).stdout.strip()
            assert state != "degraded", self.run("systemctl --failed --plain").stdout
            return state == "running"

        wait_until(up, f"{self.name} to boot", shown=self._console)

    def _console(self) -> str:
        return self.run("journalctl --no-pager --lines=50", check=False).stdout


@dataclass(frozen=True)
class Recap:
    """What a run of a playbook came to on one host."""

    ok: int
    changed: int
    unreachable: int
    failed: int
    skipped: int
    rescued: int
    ignored: int


@dataclass(frozen=True)
class Done:
    """A command that has ended: its exit code, what it printed (both streams), its recaps.

    A command that runs several playbooks has as many recaps; a host that no play reached is in
    none.
    """

    code: int
    output: str
    recaps: tuple[Mapping[str, Recap], ...]

    @property
    def recap(self) -> Mapping[str, Recap]:
        """The recap of the last playbook."""
        assert self.recaps, f"no playbook ran to its end\n{self.output}"
        return self.recaps[-1]

    @property
    def changed(self) -> Mapping[str, int]:
        """How many tasks changed a host, by host, in the last playbook; without those of none."""
        return {host: recap.changed for host, recap in self.recap.items() if recap.changed}


@dataclass(frozen=True)
class Running:
    """A command on its way."""

    process: subprocess.Popen[str]
    log: Path
    _connections: Path

    def wait(self, timeout: float = 900) -> Done:
        """Wait for its end; past the timeout (seconds) it is killed and the test fails."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still running after {timeout} s\n{self._output()}") from None
        finally:
            self._end_all()
        return Done(code, self._output(), _recaps(self._output()))

    def kill(self) -> None:
        """Kill it with all its processes, as when the machine that it runs on dies.

        What it started on a server goes on there, as it would.
        """
        self._end_all()
        self.process.wait()

    def _output(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def _end_all(self) -> None:
        """Also those that have left its group: Ansible's workers, and the connections of ssh.

        Ssh keeps these for a next run, and by then there may be another server behind one.
        """
        while left := _with_environment(str(self._connections)):
            for pid in left:
                with suppress(ProcessLookupError):
                    kill(pid, signal.SIGKILL)
            self.process.poll()
        shutil.rmtree(self._connections, ignore_errors=True)


def _with_environment(value: str) -> list[int]:
    """The processes that live and have the value in their environment; they inherited it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # Of one that has ended, the environment is empty; of one of another user, closed.
        with suppress(OSError):
            if value.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def _recaps(output: str) -> tuple[Mapping[str, Recap], ...]:
    return tuple(
        {host: Recap(*map(int, numbers)) for host, *numbers in _RECAP.findall(part)}
        for part in re.split(r"^PLAY RECAP \**$", output, flags=re.MULTILINE)[1:]
    )


@dataclass(frozen=True)
class Servers:
    """Servers in a network of their own. `gateway` is this machine's address in it."""

    apps: tuple[Server, ...]
    balancers: tuple[Server, ...]
    gateway: str
    folder: Path
    _begun: list[Running] = field(default_factory=list, repr=False)

    @property
    def all(self) -> tuple[Server, ...]:
        return (*self.apps, *self.balancers)

    def __getitem__(self, name: str) -> Server:
        return next(server for server in self.all if server.name == name)

    def write_inventory(self, folder: Path, role: str) -> None:
        """Put servers.yml and known_hosts into an inventory's folder, ROLE_instances as group.

        The inventory that would ask AWS is removed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for asking in folder.glob("*aws_ec2.yml"):
            asking.unlink()
        groups = {f"{role}_instances": self.apps, "nginx_instances": self.balancers}
        inventory = {
            name: {"hosts": {server.name: self._variables(server) for server in members}}
            for name, members in groups.items()
        }
        (folder / "servers.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
        keys = {server.address: _host_key(server) for server in self.all}
        (folder / "known_hosts").write_text(
            "".join(f"{address} {key}\n" for address, key in keys.items())
        )

    def _variables(self, server: Server) -> dict[str, str]:
        return {
            "ansible_host": server.address,
            "private_address": server.address,
            "ansible_user": server.user,
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            # Nothing of the configuration of who runs the tests.
            "ansible_ssh_common_args": "-F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes"
            " -o UserKnownHostsFile={{ inventory_dir }}/known_hosts",
        }

    def run(
        self,
        folder: Path,
        *command: str | Path,
        env: Mapping[str, str] | None = None,
        timeout: float = 900,
    ) -> Done:
        """Run a command in a folder (a project's `ansible`, for its ansible.cfg) with our tools."""
        return self.begin(folder, *command, env=env).wait(timeout)

    def begin(
        self, folder: Path, *command: str | Path, env: Mapping[str, str] | None = None
    ) -> Running:
        """Start such a command and come back at once; its log is in the servers' folder."""
        log = self.folder / f"{len(self._begun):02}-{Path(command[0]).name}.log"
        # Short, since it holds Unix sockets; new, since a server may have changed behind it.
        connections = Path(tempfile.mkdtemp(prefix="gen-ssh-"))
        with log.open("w") as output:
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=folder,
                env={**self._environment(connections), **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self._begun.append(Running(process, log, connections))
        return self._begun[-1]

    def end_commands(self) -> None:
        """Kill the commands that still run."""
        for running in self._begun:
            running.kill()

    def _environment(self, connections: Path) -> dict[str, str]:
        """All of it: no configuration, no credentials and no language of who runs the tests."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": tools.search_path(),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(connections),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @contextmanager
    def serving(self, folder: Path) -> Iterator[str]:
        """Serve a folder's files to the servers; gives the address, http://HOST:PORT."""
        handler = partial(_QuietHandler, directory=str(folder))
        with ThreadingHTTPServer((self.gateway, 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            try:
                yield f"http://{self.gateway}:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def check_machine(engine: Engine, os: str) -> None:
    """Raise NoServersError where servers of this system cannot be had."""
    for program, tool in _PROGRAMS.items():
        if not tools.find(program):
            raise NoServersError(f"{program} is not installed", f"tools/install {tool}")
    if not engine.docker("image", "ls", "--quiet", _IMAGES[os]):
        raise NoServersError(
            f"the engine has no image {_IMAGES[os]}", f"tools/install {_INSTALLED_BY[os]}"
        )


@contextmanager
def servers(
    engine: Engine, folder: Path, os: str = "debian", *, app: int = 3, nginx: int = 1
) -> Iterator[Servers]:
    """App servers app-1, app-2, ... and balancers nginx-1, ... for as long as the block runs.

    The folder, which only these may use, gets the key, a home and the logs of commands.
    """
    check_machine(engine, os)
    folder.mkdir(parents=True, exist_ok=True)
    generate = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")]
    subprocess.run(generate, check=True, stdin=subprocess.DEVNULL)
    key = (folder / "key.pub").read_text()
    names = [f"app-{number + 1}" for number in range(app)]
    names += [f"nginx-{number + 1}" for number in range(nginx)]
    network, prefix = _make_network(engine)
    planned = [
        Server(engine, name, f"{network}-{name}", f"{prefix}.{place}", USERS[os])
        for place, name in enumerate(names, 11)
    ]
    try:
        with ThreadPoolExecutor(len(planned)) as pool:
            list(pool.map(lambda server: _boot(server, network, _IMAGES[os], key), planned))
        started = Servers(tuple(planned[:app]), tuple(planned[app:]), f"{prefix}.1", folder)
        try:
            yield started
        finally:
            started.end_commands()
    finally:
        _remove(engine, [server.container for server in planned])
        engine.docker("network", "rm", network)


def _make_network(engine: Engine) -> tuple[str, str]:
    """The name and the first three numbers of a network in which servers choose their address."""
    for _ in range(20):
        name, prefix = f"gen-test-{secrets.token_hex(4)}", f"10.213.{secrets.randbelow(256)}"
        made = subprocess.run(
            [
                "docker",
                "network",
                "create",
                f"--subnet={prefix}.0/24",
                f"--gateway={prefix}.1",
                name,
            ],
            check=False,
            env=engine.environment,
            capture_output=True,
            text=True,
        )
        if made.returncode == 0:
            return name, prefix
        assert "overlap" in made.stderr, made.stderr
    raise AssertionError("found no free network")


def _boot(server: Server, network: str, image: str, key: str) -> None:
    where = (f"--network={network}", f"--ip={server.address}", f"--hostname={server.name}")
    server.engine.docker("run", "--detach", f"--name={server.container}", *where, *_INIT, image)
    server.wait_until_up()
    home = f"/home/{server.user}/.ssh"
    server.run(f"install -d -o {server.user} {home} && cat > {home}/authorized_keys", stdin=key)


def _remove(engine: Engine, containers: list[str]) -> None:
    """Some may not be there, when not all could be started; the network's removal notices."""
    command = ["docker", "rm", "--force", "--volumes", *containers]
    subprocess.run(command, check=False, env=engine.environment, capture_output=True)


def _host_key(server: Server) -> str:
    return server.run("cut -d' ' -f1-2 /etc/ssh/ssh_host_ed25519_key.pub").stdout.strip()
