"""The container image: built and run for real, stopped and replaced under load."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from tests.live.containers import Container, Image, container, wait_until
from tests.live.engine import Engine
from tests.live.http import get, post_slowly
from tests.live.load import Load
from tests.live.nginx import nginx
from tests.live.project import build, new_project, release

DRAIN_BUDGET_SECONDS = 20  # health.drain, which bounds the whole of a stop
OLD, NEW = "v1.0.0", "v1.1.0"

_APPS = Path(__file__).parent / "apps"
_SEEDED = """\
gen: 1
name: {name}
targets: [container]
runtime: {{language: {language}, version: "{version}"}}
http:
  routes: ["GET /", "POST /echo"]
"""
_MEBIBYTE = 1024**2


@dataclass(frozen=True)
class App:
    """A project with two releases; `added` is what its image may add to the base image."""

    language: str
    project: Path
    old: Image
    new: Image
    new_commit: str
    added: int


@dataclass(frozen=True)
class _Case:
    name: str
    language: str
    spec: str
    added: int
    code: Path | None = None


def _seeded(language: str, version: str, added: int) -> _Case:
    name = f"seeded-{language}"
    spec = _SEEDED.format(name=name, language=language, version=version)
    return _Case(name, language, spec, added)


def _existing(name: str, language: str, added: int) -> _Case:
    folder = _APPS / name
    return _Case(name, language, (folder / "app.yaml").read_text(), added, folder / "app")


_CASES = (
    _seeded("nodejs", "24", 1 * _MEBIBYTE),
    _seeded("python", "3.13", 4 * _MEBIBYTE),
    _existing("express", "nodejs", 5 * _MEBIBYTE),
    _existing("fastapi", "python", 25 * _MEBIBYTE),
)


@pytest.fixture(scope="module", params=_CASES, ids=lambda case: case.name)
def app(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    engine: Engine,
    base_image: Callable[[str], str],
) -> Iterator[App]:
    """Each kind of app in turn: seeded by gen, or brought along with its dependencies."""
    case: _Case = request.param
    base = base_image(case.language)
    project = new_project(tmp_path_factory.mktemp(case.name), case.spec)
    if case.code:
        assert not (project / "app").exists(), "an app was seeded in the place of the user's own"
        shutil.copytree(case.code, project / "app")
    release(project, OLD)
    old = build(project, case.name, engine, base)
    commit = release(project, NEW)
    new = build(project, case.name, engine, base)
    yield App(case.language, project, old, new, commit, case.added)
    engine.docker("image", "rm", "--force", old.name, new.name)


def test_runs_as_strictly_as_a_cluster_runs_it(app: App) -> None:
    """It starts with a read-only root, without capabilities, as a numeric user of its own."""
    user = app.new.facts["Config"]["User"]
    assert int(user.split(":")[0]) >= 10001, user
    with container(app.new) as running:
        running.wait_until_healthy()
        assert get(running.target, "/").status == 200
        assert get(running.target, "/readyz").status == 200


def test_engine_api_builds_it_too(
    app: App, engine: Engine, base_image: Callable[[str], str]
) -> None:
    """The Dockerfile needs no more than the engine's own API, which knows no BuildKit."""
    client = docker.DockerClient(base_url=engine.host)
    try:
        image, _ = client.images.build(
            path=str(app.project), buildargs={"BASE_IMAGE": base_image(app.language)}, rm=True
        )
        assert image.id
        client.images.remove(image.id, force=True)
    finally:
        client.close()


def test_stop_under_load_loses_no_request(
    app: App, record_property: Callable[[str, object], None]
) -> None:
    """SIGTERM: not ready, still accepting, requests in flight finished, exit 0 in the budget."""
    with container(app.new) as running, ThreadPoolExecutor() as threads:
        running.wait_until_ready()
        with Load(running.target) as load:
            _wait_for_answers(load, 200)
            in_flight = threading.Event()
            long_request = threads.submit(
                post_slowly, running.target, "/echo", seconds=4, in_flight=in_flight
            )
            assert in_flight.wait(10)
            load.server_stops()
            began = time.monotonic()
            stopped = threads.submit(running.stop)
            wait_until(lambda: _says_not_ready(running), "/readyz to answer 503")
            not_ready = time.monotonic()
            exit_code = stopped.result()
            seconds = time.monotonic() - began

        record_property("load", str(load.result))
        assert not load.result.failed, f"{load.result}\n{running.logs()}"
        assert set(load.result.statuses) == {200}
        last = load.result.answered_after(not_ready)
        assert last, "once not ready, it accepted no more request"
        assert not any(one.kept for one in last), "it kept connections which it then closed"
        assert load.result.rerouted, "its listener was never closed"
        assert long_request.result().status == 200
        assert exit_code == 0, running.logs()
        assert seconds <= DRAIN_BUDGET_SECONDS


def test_rolling_update_behind_nginx_loses_no_request(
    app: App, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Two containers are replaced one by one: every answer is 200, and both are the new ones."""
    with ExitStack() as stack:
        old = [stack.enter_context(container(app.old)) for _ in range(2)]
        for one in old:
            one.wait_until_ready()
        balancer = stack.enter_context(nginx(tmp_path, [one.target for one in old]))
        # Not kept alive: nginx closes idle connections on a reload, even as a request arrives.
        load = stack.enter_context(Load(balancer.target, keep_alive=False))
        new = []
        for one in old:
            _wait_for_answers(load, 100)
            balancer.drain(one.target)
            assert one.stop() == 0
            new.append(stack.enter_context(container(app.new)))
            new[-1].wait_until_ready()
            balancer.replace(one.target, new[-1].target)
        _wait_for_answers(load, 100)
        load.stop()

        record_property("load", str(load.result))
        assert not load.result.failed, str(load.result)
        assert set(load.result.statuses) == {200}, str(load.result)
        assert [_version(one) for one in new] == [NEW, NEW]
        assert balancer.served() >= {str(one.target) for one in (*old, *new)}


def _says_not_ready(running: Container) -> bool:
    try:
        return get(running.target, "/readyz").status == 503
    except ConnectionRefusedError:
        pytest.fail(f"it closed its listener while it was ready\n{running.logs()}")


def _wait_for_answers(load: Load, count: int) -> None:
    enough = load.answered + count
    wait_until(lambda: load.answered >= enough, f"{count} answers")


def _version(running: Container) -> str:
    version: str = json.loads(get(running.target, "/version").body)["version"]
    return version


def test_image_stays_small(app: App, base_image: Callable[[str], str]) -> None:
    """The image adds the app and its dependencies to the base image, and little else."""
    base = Image(app.new.engine, base_image(app.language))
    added = app.new.facts["Size"] - base.facts["Size"]
    assert added < app.added, f"{added / _MEBIBYTE:.1f} MiB"


def test_labels_say_what_the_image_is(app: App) -> None:
    """A registry shows from which release and commit an image was built."""
    labels = app.new.facts["Config"]["Labels"]
    named = {name.removeprefix("org.opencontainers.image."): labels[name] for name in labels}
    assert (named["version"], named["revision"]) == (NEW, app.new_commit)
    assert all(named[label] for label in ("title", "description", "created"))


def test_app_cannot_change_its_own_code(app: App) -> None:
    """Nothing below the app's folder belongs to the app's user or is writable for all."""
    user = int(app.new.facts["Config"]["User"].split(":")[0])
    files = [file for file in app.new.files() if not file.issym()]
    assert files
    assert not [file.name for file in files if file.uid == user or file.mode & 0o002]
