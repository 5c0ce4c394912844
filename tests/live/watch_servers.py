"""Shows what a rollout does to servers: `make watch TARGET=server`.

    python -m tests.live.watch_servers

Four containers act as servers: three for the app, and a balancer. A sample project is deployed to
them by its own Makefile: a first version, a second one, one that never becomes ready, and a rollback,
while 100 requests a second go through nginx. A line a second says which version each server runs
(in brackets while it gets no requests), how many requests were answered, and how many failed.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.archive import make_mirror
from tests.live.engine import NoEngineError, running
from tests.live.fleet import BROKEN, SECRET, Fleet, fleet
from tests.live.load import Load
from tests.live.servers import NoServersError, check_machine

_STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("the first version", ("deploy-server", "VERSION=v1")),
    ("the next one", ("deploy-server", "VERSION=v2")),
    ("one that never becomes ready", ("deploy-server", "VERSION=v3")),
    ("back to the version before", ("rollback-server",)),
)


def show() -> None:
    with tempfile.TemporaryDirectory() as scratch, running() as engine:
        check_machine(engine, "debian")
        _say(f"starting four servers; the project is in {scratch}/project")
        mirror = Path(scratch) / "mirror"
        make_mirror(mirror)
        with fleet(engine, Path(scratch), mirror, "debian") as servers:
            servers.release("v1")
            servers.release("v2")
            servers.release("v3", BROKEN)
            for number, (title, words) in enumerate(_STEPS):
                with _telling(servers, loaded=number > 0):
                    _show_step(servers, title, words)


def _show_step(servers: Fleet, title: str, words: tuple[str, ...]) -> None:
    _say(f"\n{title}\n$ make {' '.join(words)} ENV=prod")
    command = ("make", "--silent", *words, "ENV=prod")
    step = servers.servers.begin(servers.project, *command, env=SECRET)
    done = step.wait()
    _say(f"  | {done.output.strip().splitlines()[-1]}")
    if done.code:
        told = [line.strip() for line in done.output.splitlines() if " failed on " in line]
        _say("".join(f"  | {line}\n" for line in told[-1:]).rstrip())
    _say(f"  exit {done.code}; all that was printed is in {step.log}")


@contextmanager
def _telling(servers: Fleet, *, loaded: bool) -> Iterator[None]:
    """A line a second, while requests go through nginx."""
    began, ended = time.monotonic(), threading.Event()

    def tell(load: Load | None) -> None:
        while not ended.wait(1):
            sent = f"   {load.answered:6} answered, {load.lost} failed" if load else ""
            _say(f"  {time.monotonic() - began:5.0f} s   {_versions(servers)}{sent}")

    def run(load: Load | None) -> Iterator[None]:
        thread = threading.Thread(target=tell, args=(load,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    if not loaded:
        yield from run(None)
        return
    with Load(servers.front, rate=100, seconds=600, resends=True) as load:
        yield from run(load)
    _say(f"  {load.result}")


def _versions(servers: Fleet) -> str:
    drained = servers.drained()
    return "   ".join(
        f"{server.name} [{version}]"
        if f"/{server.name}.conf" in drained
        else f"{server.name}  {version} "
        for server, version in zip(servers.servers.apps, servers.running(), strict=True)
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    try:
        show()
    except (NoEngineError, NoServersError) as problem:
        sys.stderr.write(f"{problem}; to get it: {problem.remedy}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
