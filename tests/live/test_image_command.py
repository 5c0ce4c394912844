"""`gen image` against a real engine and a real registry."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import tools
from tests.live.containers import Image
from tests.live.engine import Engine
from tests.live.project import build, new_project, release

NAME, VERSION = "image-command", "v1.0.0"
_SPEC = (
    f'gen: 1\nname: {NAME}\ntargets: [container]\nruntime: {{language: nodejs, version: "24"}}\n'
)
# As much as a push needs.
_SMALL = """\
FROM scratch
ARG APP_VERSION
LABEL org.opencontainers.image.version="${APP_VERSION}"
COPY app/ /app/
CMD ["/app/none"]
"""


class Said(NamedTuple):
    """What a command ended with and printed."""

    code: int
    stdout: str
    stderr: str


Gen = Callable[..., Said]


@pytest.fixture
def project(tmp_path: Path, engine: Engine) -> Iterator[Path]:
    """A released project; its images are removed at the end."""
    project = new_project(tmp_path, _SPEC)
    release(project, VERSION)
    yield project
    for image in set(engine.docker("image", "ls", "--quiet", f"*{NAME}").split()):
        engine.docker("image", "rm", "--force", image)


@pytest.fixture
def small(project: Path) -> Path:
    """The project with an image that is built and pushed in no time."""
    (project / "Dockerfile").write_text(_SMALL)
    subprocess.run(["git", "tag", "--delete", VERSION], cwd=project, check=True)
    release(project, VERSION)
    return project


@pytest.fixture
def gen(project: Path, engine: Engine) -> Gen:
    """Runs gen in the project."""

    def gen(*words: str) -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "generator", "-C", str(project), *words],
            check=False,
            env=engine.environment,
            capture_output=True,
            text=True,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return gen


def test_builds_what_the_makefile_builds(
    project: Path, gen: Gen, engine: Engine, base_image: Callable[[str], str]
) -> None:
    """The image has the same name, settings, labels and platform as that of make."""
    base = base_image("nodejs")
    by_make = build(project, NAME, engine, base).facts
    engine.docker("image", "rm", f"{NAME}:{VERSION}")

    said = gen("image", "build", "--build-arg", f"BASE_IMAGE={base}", "--format", "json")
    assert said.code == 0, said.stderr
    built = json.loads(said.stdout)
    image = Image(engine, f"{NAME}:{VERSION}").facts
    assert built["image"] == f"{NAME}:{VERSION}"
    assert (built["id"], built["size"]) == (image["Id"], image["Size"])
    for key in ("Env", "Labels", "Cmd", "Entrypoint", "User", "WorkingDir", "Healthcheck"):
        assert image["Config"].get(key) == by_make["Config"].get(key), key
    assert (image["Os"], image["Architecture"]) == (by_make["Os"], by_make["Architecture"])


@pytest.mark.usefixtures("small")
def test_same_commit_is_the_same_image(gen: Gen) -> None:
    """A second build of a commit changes nothing, unless it is asked to run every step anew."""
    first, second = (json.loads(gen("image", "build", "--format", "json").stdout) for _ in "12")
    assert second == first
    anew = json.loads(gen("image", "build", "--no-cache", "--format", "json").stdout)
    assert anew["id"] != first["id"]


def test_dockerignore_is_honoured(small: Path, gen: Gen, engine: Engine) -> None:
    """A file that .dockerignore names stays out of the image."""
    (small / "app" / ".env").write_text("TOKEN=secret\n")
    (small / "Dockerfile").write_text(_SMALL + "WORKDIR /app\n")
    assert gen("image", "build", "--tag", "ignoring").code == 0
    names = [Path(file.name).name for file in Image(engine, f"{NAME}:ignoring").files()]
    assert "server.js" in names
    assert ".env" not in names


def test_failing_step(project: Path, gen: Gen, base_image: Callable[[str], str]) -> None:
    """A build that fails exits 1 and shows the line of the step and what it printed."""
    dockerfile = project / "Dockerfile"
    lines = dockerfile.read_text().splitlines()
    lines.append("RUN echo what the step says \\\n && exit 7")
    dockerfile.write_text("\n".join(lines))
    said = gen("image", "build", "--build-arg", f"BASE_IMAGE={base_image('nodejs')}")

    assert said.code == 1
    place = f"Dockerfile:{len(lines)}: the image cannot be built: it fails at step "
    assert place in said.stderr
    assert "returned a non-zero code: 7" in said.stderr
    assert "  | what the step says\n" in said.stderr


def test_dockerfile_that_cannot_be_parsed(small: Path, gen: Gen) -> None:
    """A slip in the Dockerfile exits 1 and shows its line."""
    (small / "Dockerfile").write_text("FROM scratch\nCOPPY app /\n")
    said = gen("image", "build")
    assert said.code == 1
    assert "Dockerfile:2: " in said.stderr
    assert "  2 | COPPY app /\n" in said.stderr


@pytest.fixture
def registry() -> Iterator[str]:
    """The host of an empty registry."""
    command = [str(tools.need("crane")), "registry", "serve", "--address", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        started = next(line for line in server.stderr if "serving on port" in line)
        yield f"127.0.0.1:{started.split()[-1]}"
        server.terminate()


@pytest.mark.usefixtures("small")
def test_push(gen: Gen, registry: str) -> None:
    """The registry has the image under its tag, and the digest printed is that image's."""
    assert gen("image", "build").code == 0
    said = gen("image", "push", "--repository", f"{registry}/team/{NAME}")

    assert said.code == 0, said.stderr
    repository, _, digest = said.stdout.strip().partition("@")
    assert repository == f"{registry}/team/{NAME}"
    assert ": Pushed" in said.stderr
    connection = http.client.HTTPConnection(registry)
    connection.request("HEAD", f"/v2/team/{NAME}/manifests/{VERSION}")
    assert connection.getresponse().getheader("Docker-Content-Digest") == digest


class Refusal(NamedTuple):
    """What ECR's registry answers, to the `request` of an upload or to that of a manifest."""

    request: str
    status: int
    code: str
    message: str


class _Refusing(BaseHTTPRequestHandler):
    """Stands before a registry and answers some of the requests in its place."""

    protocol_version = "HTTP/1.1"
    registry: str
    refusal: Refusal

    def _handle(self) -> None:
        body = self._body()
        if f"{self.command} {self.path}".startswith(self.refusal.request):
            words = {"errors": [{"code": self.refusal.code, "message": self.refusal.message}]}
            headers = {"Content-Type": "application/json"}
            self._answer(self.refusal.status, headers, json.dumps(words).encode())
            return
        connection = http.client.HTTPConnection(self.registry)
        connection.request(
            self.command, self.path, body, {"Content-Type": self.headers.get("Content-Type", "")}
        )
        answer = connection.getresponse()
        self._answer(answer.status, dict(answer.getheaders()), answer.read())

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = _handle  # noqa: N815 - names of http.server

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _refusing(registry: str, refusal: Refusal) -> Iterator[str]:
    """The host of something that refuses on behalf of a registry."""
    handler = type("Handler", (_Refusing,), {"registry": registry, "refusal": refusal})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


NO_REPOSITORY = Refusal(
    f"POST /v2/{NAME}/blobs/",
    404,
    "NAME_UNKNOWN",
    "The repository with name 'team' does not exist in the registry with id '123456789012'",
)
TAG_TAKEN = Refusal(
    f"PUT /v2/{NAME}/manifests/",
    400,
    "TAG_INVALID",
    "The image tag 'v1' already exists in the 'team' repository and cannot be overwritten because"
    " the repository is immutable.",
)
DENIED = Refusal(
    f"POST /v2/{NAME}/blobs/", 403, "DENIED", "User is not authorized to perform: ecr:PutImage"
)


@pytest.mark.parametrize(
    ("refusal", "exit_code", "summary"),
    [
        (NO_REPOSITORY, 3, "there is no repository "),
        (TAG_TAKEN, 2, "its tags are immutable"),
        (DENIED, 3, "you may not push to "),
    ],
    ids=["no repository", "tag taken", "denied"],
)
@pytest.mark.usefixtures("small")
def test_refusals_reach_the_user(
    gen: Gen, registry: str, refusal: Refusal, exit_code: int, summary: str
) -> None:
    """What ECR's registry answers is understood as this engine passes it on."""
    assert gen("image", "build").code == 0
    with _refusing(registry, refusal) as host:
        said = gen("image", "push", "--repository", f"{host}/{NAME}")
    assert said.code == exit_code, said.stderr
    assert summary in said.stderr
    assert refusal.message in said.stderr
