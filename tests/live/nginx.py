"""nginx as a balancer in front of servers under test: ours to start, reload and stop."""

from __future__ import annotations

import getpass
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.live.http import Target
from tests.tools import need

# `proxy_next_upstream off`: nginx is to show what the servers do wrong, not to hide it.
_CONFIGURATION = """\
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
worker_processes 2;
worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
  log_format upstream $upstream_addr;
  access_log {folder}/access.log upstream;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream servers {{
    least_conn;
{servers}
    keepalive 32;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_next_upstream off;
    }}
  }}
}}
"""


@dataclass
class Nginx:
    """A running nginx; `down` are the servers that get no new requests."""

    target: Target
    _folder: Path
    _servers: list[Target]
    _process: subprocess.Popen[bytes]
    _down: set[Target] = field(default_factory=set)

    def drain(self, server: Target) -> None:
        """Give the server no new requests; return when no worker would any more."""
        self._down.add(server)
        self._reload()

    def replace(self, old: Target, new: Target) -> None:
        """Put a server in the place of a drained one."""
        self._down.discard(old)
        self._servers[self._servers.index(old)] = new
        self._reload()

    def served(self) -> set[str]:
        """The addresses of all servers that were given a request."""
        return set((self._folder / "access.log").read_text().split())

    def _reload(self) -> None:
        """Make the configuration true, as `nginx -s reload` does, and wait until it is."""
        old = set(_workers(self._process.pid))
        _write(self._folder, self.target.port, self._servers, self._down)
        os.kill(self._process.pid, signal.SIGHUP)
        _wait(lambda: bool(set(_workers(self._process.pid)) - old), "new workers of nginx")
        _wait(lambda: all(map(_is_leaving, old)), "the old workers of nginx to leave")


@contextmanager
def nginx(folder: Path, servers: list[Target]) -> Iterator[Nginx]:
    """Run nginx on a free port of loopback for as long as the block runs."""
    binary = need("nginx")
    port = _free_port()
    configuration = _write(folder, port, servers, set())
    command = [str(binary), "-p", str(folder), "-e", str(folder / "error.log")]
    command += ["-c", str(configuration)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    target = Target("127.0.0.1", port)
    try:
        _wait(lambda: process.poll() is not None or _accepts(target), "nginx to listen")
        assert process.poll() is None, (folder / "error.log").read_text()
        yield Nginx(target, folder, list(servers), process)
    finally:
        process.terminate()
        process.wait(10)


def _write(folder: Path, port: int, servers: list[Target], down: set[Target]) -> Path:
    # Started by root, workers would become a user who may not write into the folder.
    user = f"user {getpass.getuser()};" if os.getuid() == 0 else ""
    lines = [
        f"    server {server} max_fails=0{' down' if server in down else ''};" for server in servers
    ]
    file = folder / "nginx.conf"
    file.write_text(
        _CONFIGURATION.format(user=user, folder=folder, port=port, servers="\n".join(lines))
    )
    return file


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _accepts(target: Target) -> bool:
    try:
        socket.create_connection((target.host, target.port), timeout=1).close()
    except OSError:
        return False
    return True


def _workers(master: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def _is_leaving(worker: int) -> bool:
    """Whether a worker is gone, or only finishes what it has."""
    try:
        title = Path(f"/proc/{worker}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return not title.strip("\0") or "is shutting down" in title


def _wait(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.02)
