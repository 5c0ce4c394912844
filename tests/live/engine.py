"""A Docker engine for tests: the one that answers, else one of our own.

    python -m tests.live.engine COMMAND...      runs a command with an engine to talk to

Ours keeps its data in the tools' cache, so images outlive it. All who use it at the same time
share it; the last one stops it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests import tools

# Short, since the path of a Unix socket has at most 107 characters.
_FOLDER = Path("/run/gen-tests")
_PID_FILE = _FOLDER / "docker.pid"
_HOST = f"unix://{_FOLDER}/docker.sock"


class NoEngineError(Exception):
    """No engine answers and none can be started; the text says why, `remedy` what to do."""

    def __init__(self, reason: str, remedy: str = "tools/install docker iptables") -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True)
class Engine:
    """Where an engine listens, and the environment for commands that talk to it."""

    host: str

    @property
    def environment(self) -> dict[str, str]:
        return {**tools.environment(), "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "1"}

    def docker(self, *arguments: str) -> str:
        """Run the docker command and return what it prints; a failure shows all of it."""
        command = ["docker", *arguments]
        done = subprocess.run(
            command, check=False, env=self.environment, capture_output=True, text=True
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout.strip()


@contextmanager
def running() -> Iterator[Engine]:
    """An engine for as long as the block runs."""
    cli = tools.find("docker")
    if cli is None:
        raise NoEngineError("docker is not installed")
    theirs = _answering_by_default(cli)
    if theirs:
        yield Engine(theirs)
    else:
        with _ours(cli):
            yield Engine(_HOST)


def _answering_by_default(cli: Path) -> str | None:
    """The engine that a user's docker command talks to, if it answers."""
    if not _answers(cli, None):
        return None
    if host := os.environ.get("DOCKER_HOST"):
        return host
    command = [str(cli), "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _answers(cli: Path, host: str | None) -> bool:
    environment = tools.environment() | ({"DOCKER_HOST": host} if host else {})
    return not subprocess.run(
        [cli, "version"],
        check=False,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ).returncode


@contextmanager
def _ours(cli: Path) -> Iterator[None]:
    """Our engine, started by the first user and stopped by the last."""
    if os.getuid() != 0:
        raise NoEngineError("no Docker engine answers, and only root can start one", "start Docker")
    _FOLDER.mkdir(mode=0o700, exist_ok=True)
    with open(_FOLDER / "users", "w") as users, open(_FOLDER / "changing", "w") as changing:
        with _locked(changing):
            if not _answers(cli, _HOST):
                _start(cli)
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield
        finally:
            with _locked(changing), suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _stop()


@contextmanager
def _locked(file: IO[str]) -> Iterator[None]:
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _start(cli: Path) -> None:
    daemon = tools.find("dockerd")
    if daemon is None:
        raise NoEngineError("dockerd is not installed")
    if tools.find("iptables") is None:
        raise NoEngineError("iptables is not installed")
    _stop()  # one that hangs, left by a session that was killed
    _mount_systemd_cgroup()
    configuration = _FOLDER / "daemon.json"
    # Not the machine's own configuration, which may name the default socket.
    configuration.write_text('{"builder": {"gc": {"enabled": true, "defaultKeepStorage": "3GB"}}}')
    command = [str(daemon), f"--config-file={configuration}", f"--host={_HOST}"]
    command += [f"--pidfile={_PID_FILE}", f"--exec-root={_FOLDER / 'exec'}"]
    command += [
        f"--data-root={tools.cache() / 'docker'}",
        "--exec-opt=native.cgroupdriver=cgroupfs",
    ]
    log = _FOLDER / "dockerd.log"
    with log.open("wb") as output:
        # A session of its own, so that Ctrl-C reaches the tests first and the engine last.
        process = subprocess.Popen(
            command,
            env=tools.environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _wait(lambda: process.poll() is not None or _answers(cli, _HOST), seconds=60)
    if process.poll() is not None:
        raise NoEngineError(f"dockerd stopped:\n{log.read_text()[-2000:]}", f"read {log}")
    _forget_leftovers()


def _forget_leftovers() -> None:
    """Keep the cache from growing: a session that was killed leaves containers and images."""
    ours = Engine(_HOST)
    ours.docker("container", "prune", "--force")
    ours.docker("image", "prune", "--force")


def _mount_systemd_cgroup() -> None:
    """Give runc the one hierarchy that cgroup v1 without systemd lacks."""
    folder = Path("/sys/fs/cgroup")
    if (folder / "cgroup.controllers").exists() or (folder / "systemd").is_dir():
        return
    (folder / "systemd").mkdir()
    mount = ["mount", "-t", "cgroup", "-o", "none,name=systemd", "cgroup"]
    subprocess.run([*mount, str(folder / "systemd")], check=True)


def _stop() -> None:
    try:
        pid = int(_PID_FILE.read_text())
    except (FileNotFoundError, ValueError):
        return
    if _is_engine(pid):
        os.kill(pid, signal.SIGTERM)
        _wait(lambda: not _is_engine(pid), seconds=60)
    _PID_FILE.unlink(missing_ok=True)


def _is_engine(pid: int) -> bool:
    """Whether the process lives and is an engine: after a crash the number may be another's."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    with suppress(FileNotFoundError, ProcessLookupError):
        name, state = Path(f"/proc/{pid}/stat").read_text().split(" ")[1:3]
        return name == "(dockerd)" and state != "Z"
    return False


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NoEngineError(f"waited {seconds:.0f} s in vain", f"read {_FOLDER}/dockerd.log")
        time.sleep(0.1)


def main() -> int:
    try:
        with running() as engine:
            return subprocess.run(sys.argv[1:], check=False, env=engine.environment).returncode
    except NoEngineError as problem:
        sys.stderr.write(f"{problem}; to get it: {problem.remedy}\n")
        return 3


if __name__ == "__main__":
    sys.exit(main())
