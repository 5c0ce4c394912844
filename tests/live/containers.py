"""Images and containers under test, run as strictly as a cluster would run them."""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.live.engine import Engine
from tests.live.http import Target, get

_STRICT = (
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=256m",
    "--pids-limit=100",
)
# The image's own check, only asked more often.
_IMPATIENT = "--health-interval=1s"


@dataclass(frozen=True)
class Image:
    """An image in an engine."""

    engine: Engine
    name: str

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(
            self.engine.docker("image", "inspect", "--format", "{{json .}}", self.name)
        )
        return facts

    @property
    def port(self) -> int:
        """The one port that the image exposes."""
        (exposed,) = self.facts["Config"]["ExposedPorts"]
        return int(exposed.removesuffix("/tcp"))

    def files(self) -> list[tarfile.TarInfo]:
        """Everything below the image's working directory."""
        container = self.engine.docker("create", self.name)
        try:
            copy = ["docker", "cp", f"{container}:{self.facts['Config']['WorkingDir']}", "-"]
            archive = subprocess.run(
                copy, env=self.engine.environment, capture_output=True, check=True
            )
        finally:
            self.engine.docker("rm", container)
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            return tar.getmembers()


@dataclass(frozen=True)
class Container:
    """A running container, reached at its own address (published ports go through a proxy)."""

    engine: Engine
    name: str
    target: Target

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(
            self.engine.docker("inspect", "--format", "{{json .}}", self.name)
        )
        return facts

    def wait_until_ready(self) -> None:
        self._wait(lambda: get(self.target, "/readyz").status == 200, "/readyz")

    def wait_until_healthy(self) -> None:
        """Wait for the image's own HEALTHCHECK."""
        self._wait(lambda: self.facts["State"]["Health"]["Status"] == "healthy", "HEALTHCHECK")

    def stop(self) -> int:
        """Send SIGTERM, wait for the end and return the exit code (137: it had to be killed)."""
        self.engine.docker("stop", "--time=30", self.name)
        code: int = self.facts["State"]["ExitCode"]
        return code

    def logs(self) -> str:
        """Return the last lines that it printed."""
        command = ["docker", "logs", "--tail=20", self.name]
        return subprocess.run(
            command,
            check=False,
            env=self.engine.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ).stdout

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            try:
                return condition()
            except OSError:  # nobody listens yet
                return False

        wait_until(holds, f"{what} of {self.name}", shown=self.logs)


@contextmanager
def container(image: Image) -> Iterator[Container]:
    """Run a container of the image for as long as the block runs."""
    name = f"gen-test-{secrets.token_hex(4)}"
    image.engine.docker("run", "--detach", "--name", name, *_STRICT, _IMPATIENT, image.name)
    try:
        address = image.engine.docker(
            "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name
        )
        yield Container(image.engine, name, Target(address, image.port))
    finally:
        image.engine.docker("rm", "--force", "--volumes", name)


def wait_until(
    condition: Callable[[], bool],
    what: str,
    *,
    shown: Callable[[], str] = str,
    seconds: float = 60,
) -> None:
    """Wait for a condition; past the deadline fail and show what may explain it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}\n{shown()}"
        time.sleep(0.05)
