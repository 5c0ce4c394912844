"""What live tests share: a Docker engine with base images in it, a Kubernetes cluster, servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests import tools
from tests.live.archive import make_mirror
from tests.live.cluster import Cluster, NoClusterError
from tests.live.cluster import running as cluster_running
from tests.live.engine import Engine, NoEngineError, running
from tests.live.journeys import EVERY
from tests.live.servers import NoServersError, Servers, check_machine, servers

# The newest runtimes of which tools/install can make a base image.
_BASE_IMAGES = {"nodejs": "local/node:24", "python": "local/python:3.13"}
_INSTALLED_BY = {"nodejs": "image-node", "python": "image-python"}


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """A Docker engine; started for the session where none answers."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(running())
        except NoEngineError as problem:
            tools.missing(str(problem), problem.remedy)
        yield found


@pytest.fixture(scope="session")
def base_image(engine: Engine) -> Callable[[str], str]:
    """Names the base image of a language: a local stand-in, or what the environment chooses."""

    def base_image(language: str) -> str:
        chosen = os.environ.get(f"GEN_BASE_IMAGE_{language.upper()}")
        image = chosen or _BASE_IMAGES[language]
        if not engine.docker("image", "ls", "--quiet", image):
            tools.missing(
                f"the engine has no image {image}", f"tools/install {_INSTALLED_BY[language]}"
            )
        return image

    return base_image


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Kubernetes control plane, one for all tests: each has a namespace of its own in it."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(cluster_running(tmp_path_factory.mktemp("cluster")))
        except NoClusterError as problem:
            tools.missing(str(problem), problem.remedy)
        yield found


@pytest.fixture(scope="session")
def journeys(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """All journeys, on their way while other tests run."""
    with ThreadPoolExecutor(len(EVERY)) as pool:
        yield {
            name: pool.submit(journey, cluster, tmp_path_factory.mktemp(name))
            for name, journey in EVERY.items()
        }


@pytest.fixture(scope="session")
def need_servers(engine: Engine) -> Callable[[str], None]:
    """Skips or fails a test where servers of a system, by the spec's name, cannot be had."""

    def need_servers(os: str) -> None:
        try:
            check_machine(engine, os)
        except NoServersError as problem:
            tools.missing(str(problem), problem.remedy)

    return need_servers


@pytest.fixture(scope="session")
def shared_servers(
    engine: Engine,
    need_servers: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str, int, int], Servers]]:
    """Servers to share: (system, apps, balancers) starts them once and keeps them to the end."""
    with ExitStack() as stack:
        started: dict[tuple[str, int, int], Servers] = {}

        def shared_servers(os: str, app: int, nginx: int) -> Servers:
            wanted = (os, app, nginx)
            if wanted not in started:
                need_servers(os)
                folder = tmp_path_factory.mktemp("servers")
                started[wanted] = stack.enter_context(
                    servers(engine, folder, os, app=app, nginx=nginx)
                )
            return started[wanted]

        yield shared_servers


@pytest.fixture(scope="session")
def node_mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as Node's makers serve it, with the one version that tools/install has."""
    folder = tmp_path_factory.mktemp("node")
    make_mirror(folder)
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the load came to, also where all is well: it is the proof."""
    reports = [
        (report.nodeid, value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in report.user_properties
        if name == "load"
    ]
    if reports:
        terminalreporter.section("load")
    for test, value in reports:
        terminalreporter.line(f"{test.split('::')[-1]}\n  {value}")
