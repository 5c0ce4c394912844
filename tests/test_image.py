"""`gen image`: what it refuses, what it says, and what it sends to AWS and to the engine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from generator.cli import main
from tests.stand_in_engine import DIGEST, DONE, StandInEngine, stand_in_engine

ACCOUNT = "123456789012"  # whose credentials all are, to moto
REGISTRY = f"{ACCOUNT}.dkr.ecr.us-east-2.amazonaws.com"
TOKEN = f"{ACCOUNT}-auth-token"  # moto's
VERSION = "v1.2.0"


class Said(NamedTuple):
    """What a command ended with and printed."""

    code: int
    stdout: str
    stderr: str


class Gen:
    """Runs gen in a project."""

    def __init__(self, project: Path, capsys: pytest.CaptureFixture[str]):
        self.project = project
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        self._capsys.readouterr()
        code = main(["-C", str(self.project), *words])
        return Said(code, *self._capsys.readouterr())

    def set_account(self, account: str) -> None:
        with (self.project / "app.yaml").open("a") as spec:
            spec.write(f'\naccount: "{account}"\n')
        git(self.project, "commit", "--quiet", "--all", "--message", "account")
        git(self.project, "tag", "--force", VERSION)


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one commit, which is tagged."""
    folder = tmp_path_factory.mktemp("image") / "project"
    assert main(["new", "sample-app", "--targets", "container", "--dir", str(folder)]) == 0
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    git(folder, "tag", VERSION)
    return folder


@pytest.fixture
def gen(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Gen:
    """A copy of the project, on a machine without engine, credentials or settings."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "DOCKER_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(project, tmp_path / "project")
    return Gen(tmp_path / "project", capsys)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of a moto server."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(gen: Gen, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that moto takes, on the machine of `gen`."""
    assert gen
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInEngine]:
    """A stand-in for an engine that has the image of the project's version."""
    with stand_in_engine({f"sample-app:{VERSION}": VERSION}) as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        yield engine


def problem(said: Said) -> dict[str, Any]:
    """The one problem in the JSON that a command gave."""
    (only,) = json.loads(said.stdout)["problems"]
    assert isinstance(only, dict)
    return only


def test_without_an_engine_the_machine_is_in_the_way(gen: Gen) -> None:
    """Where no engine runs it says where it looked and how to start one, and exits 3."""
    said = gen("image", "build")

    assert said.code == 3
    assert "no Docker engine answers" in said.stderr
    assert f"{gen.project.parent}/no.sock, which DOCKER_HOST names" in said.stderr
    assert "No such file" in said.stderr
    assert "fix: Start" in said.stderr
    assert problem(gen("image", "build", "--format", "json"))["code"] == "no-engine"


@pytest.mark.parametrize("command", ["build", "push"])
def test_outside_a_project(gen: Gen, tmp_path: Path, command: str) -> None:
    """In a folder that is no project both commands refuse, exit 2."""
    (tmp_path / "elsewhere").mkdir()
    gen.project = tmp_path / "elsewhere"
    said = gen("image", command, "--format", "json")
    assert (said.code, problem(said)["code"]) == (2, "not-a-project")


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("--build-arg=BASE_IMAGE", "bad-build-arg"),
        ("--build-arg==node", "bad-build-arg"),
        ("--build-arg=BASE_IMAG=node", "unknown-build-arg"),
        ("--tag=release/1", "bad-tag"),
        ("--tag=" + "v" * 129, "bad-tag"),
    ],
)
def test_wrong_options_of_build(gen: Gen, option: str, code: str) -> None:
    """A wrong option is refused before any engine is asked, exit 2."""
    said = gen("image", "build", option, "--format", "json")
    assert (said.code, problem(said)["code"]) == (2, code)


def test_build_argument_with_a_slip(gen: Gen) -> None:
    """The name of a build argument that the Dockerfile has not is answered with the nearest."""
    assert "Did you mean BASE_IMAGE?" in gen("image", "build", "--build-arg", "BASEIMAGE=x").stderr


def test_a_project_without_a_container(gen: Gen) -> None:
    """Where there is no Dockerfile, the target that brings one is named, exit 2."""
    (gen.project / "Dockerfile").unlink()
    said = gen("image", "build")
    assert said.code == 2
    assert "Add container to the targets of app.yaml" in said.stderr


@pytest.mark.usefixtures("aws")
def test_push_logs_in_to_ecr(gen: Gen, engine: StandInEngine, tmp_path: Path) -> None:
    """The push goes to the caller's registry with a fresh login, of which no trace is left."""
    gen.set_account(ACCOUNT)
    said = gen("image", "push")

    assert said.code == 0, said.stderr
    assert said.stdout == f"{REGISTRY}/sample-app@{DIGEST}\n"
    (push,) = engine.pushes
    assert push.image == f"{REGISTRY}/sample-app:{VERSION}"
    assert push.login == {"username": "AWS", "password": TOKEN}
    assert TOKEN not in said.stdout + said.stderr
    assert not (tmp_path / ".docker").exists()


@pytest.mark.usefixtures("aws")
def test_push_as_data(gen: Gen, engine: StandInEngine) -> None:
    """As JSON the push gives the digest and the tag, and nothing else is printed."""
    said = gen("image", "push", "--format", "json")
    data = json.loads(said.stdout)
    assert data["digest"] == f"{REGISTRY}/sample-app@{DIGEST}"
    assert data["image"] == engine.pushes[0].image
    assert data["version"] == VERSION
    assert said.stderr == ""


@pytest.mark.usefixtures("aws")
def test_push_with_credentials_of_another_account(gen: Gen, engine: StandInEngine) -> None:
    """Credentials of an account that is not the spec's are refused, exit 2, and nothing is sent."""
    gen.set_account("210987654321")
    said = gen("image", "push")
    assert said.code == 2
    assert ACCOUNT in said.stderr
    assert "210987654321" in said.stderr
    assert not engine.pushes


@pytest.mark.usefixtures("aws")
def test_push_to_another_region(gen: Gen, engine: StandInEngine) -> None:
    """An ECR host given by --repository is logged in to as well."""
    other = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/team/app"
    said = gen("image", "push", "--repository", other)
    assert said.stdout == f"{other}@{DIGEST}\n"
    assert engine.pushes[0].login["password"] == TOKEN


def test_push_to_a_registry_that_is_not_ecr(gen: Gen, engine: StandInEngine) -> None:
    """Another registry needs no AWS credentials, and gets none."""
    said = gen("image", "push", "--repository", "registry.example.com:5000/team/app")
    assert said.stdout == f"registry.example.com:5000/team/app@{DIGEST}\n"
    assert engine.pushes[0].login == {}


def test_engine_of_a_docker_context(
    gen: Gen, engine: StandInEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without DOCKER_HOST the engine is that of the docker command's current context."""
    monkeypatch.delenv("DOCKER_HOST")
    docker = tmp_path / ".docker"
    context = docker / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest() / "meta.json"
    context.parent.mkdir(parents=True)
    endpoints = {"docker": {"Host": engine.host, "SkipTLSVerify": False}}
    context.write_text(json.dumps({"Name": "mine", "Metadata": {}, "Endpoints": endpoints}))
    (docker / "config.json").write_text('{"currentContext": "mine"}')
    assert gen("image", "push", "--repository", "registry.example.com/app").code == 0
    assert engine.pushes


@pytest.mark.parametrize(
    "repository", ["https://registry.example.com/app", "registry.example.com/app:v1", "App"]
)
def test_wrong_repository(gen: Gen, repository: str) -> None:
    """What cannot name a repository is refused, exit 2."""
    said = gen("image", "push", "--repository", repository, "--format", "json")
    assert (said.code, problem(said)["code"]) == (2, "bad-repository")


def test_push_of_an_image_that_is_not_built(gen: Gen, engine: StandInEngine) -> None:
    """A push before the build says what to run, exit 2."""
    engine.images.clear()
    said = gen("image", "push", "--repository", "registry.example.com/app")
    assert said.code == 2
    assert "Build it: gen image build" in said.stderr


def test_dirty_version_is_not_pushed(gen: Gen, engine: StandInEngine) -> None:
    """Uncommitted changes are refused, exit 2, unless --allow-dirty says otherwise."""
    dirty = f"{VERSION}-dirty"
    engine.images[f"sample-app:{dirty}"] = dirty
    (gen.project / "Dockerfile").write_text("FROM scratch\n")
    push = ("image", "push", "--repository", "registry.example.com/app")

    said = gen(*push)
    assert said.code == 2
    assert f"{dirty} names no commit" in said.stderr
    assert not engine.pushes
    assert gen(*push, "--allow-dirty").code == 0
    assert engine.pushes[0].image.endswith(f":{dirty}")


@pytest.mark.usefixtures("aws")
def test_a_note_of_a_deployment_makes_no_version(gen: Gen, engine: StandInEngine) -> None:
    """What deployments write is not a part of the version; the Makefile says the same one."""

    def versions() -> set[str]:
        made = ["make", "--no-print-directory", "version"]
        printed = subprocess.run(made, cwd=gen.project, check=True, capture_output=True, text=True)
        said = gen("image", "push", "--allow-dirty", "--format", "json")
        return {printed.stdout.strip(), json.loads(said.stdout)["version"]}

    note = gen.project / "releases/prod/kustomization.yaml"
    note.write_text(f"{note.read_text()}\n# of a deployment\n")
    assert versions() == {VERSION}
    git(gen.project, "commit", "--all", "--message", "note")
    assert versions() == {VERSION}
    (gen.project / "Dockerfile").write_text("FROM scratch\n")
    dirty = f"{VERSION}-dirty"
    engine.images[f"sample-app:{dirty}"] = dirty
    assert versions() == {dirty}


def test_version_of_a_project_without_git(gen: Gen, engine: StandInEngine) -> None:
    """Outside a git repository there is no version to push, exit 2."""
    shutil.rmtree(gen.project / ".git")
    said = gen("image", "push", "--repository", "registry.example.com/app")
    assert said.code == 2
    assert "0.0.0-local names no commit" in said.stderr
    assert not engine.pushes


def test_git_tag_that_no_image_can_have(gen: Gen, engine: StandInEngine) -> None:
    """What a git tag may hold and the tag of an image may not becomes a hyphen."""
    git(gen.project, "tag", "--delete", VERSION)
    git(gen.project, "tag", "release/2.0+7")
    engine.images["sample-app:release-2.0-7"] = "release-2.0-7"
    assert gen("image", "push", "--repository", "registry.example.com/app").code == 0
    assert engine.pushes[0].image == "registry.example.com/app:release-2.0-7"


def test_tag_does_not_hide_a_dirty_build(gen: Gen, engine: StandInEngine) -> None:
    """An image that was built from uncommitted changes is refused under any tag."""
    engine.images["sample-app:v2"] = f"{VERSION}-dirty"
    said = gen("image", "push", "--repository", "registry.example.com/app", "--tag", "v2")
    assert said.code == 2
    assert not engine.pushes


# As ECR phrases them.
NO_REPOSITORY = (
    "name unknown: The repository with name 'sample-app' does not exist in the registry with id"
    f" '{ACCOUNT}'"
)
TAG_TAKEN = (
    f"tag invalid: The image tag '{VERSION}' already exists in the 'sample-app' repository and"
    " cannot be overwritten because the repository is immutable."
)
NOT_ALLOWED = (
    f"denied: User: arn:aws:iam::{ACCOUNT}:user/ci is not authorized to perform:"
    " ecr:InitiateLayerUpload on resource: sample-app"
)
CREATE = (
    "aws ecr create-repository --region us-east-2 --repository-name sample-app"
    " --image-tag-mutability IMMUTABLE"
)


@pytest.mark.parametrize(
    ("refusal", "exit_code", "advice"),
    [
        (NO_REPOSITORY, 3, CREATE),
        (TAG_TAKEN, 2, "build a new version"),
        (NOT_ALLOWED, 3, "Have the right given"),
        ("unexpected EOF", 3, "push again"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_refusals_of_ecr(
    gen: Gen, engine: StandInEngine, refusal: str, exit_code: int, advice: str
) -> None:
    """What ECR refuses is told with its own words and with what to do."""
    engine.answer = ({"errorDetail": {"message": refusal}, "error": refusal},)
    said = gen("image", "push")
    assert said.code == exit_code
    assert refusal in said.stderr
    assert advice in said.stderr


@pytest.mark.usefixtures("aws")
def test_push_without_an_answer(gen: Gen, engine: StandInEngine) -> None:
    """A push that ends without a digest is not taken for one that worked."""
    engine.answer = ({"status": "Pushed", "id": "a1"},)
    said = gen("image", "push", "--format", "json")
    assert (said.code, problem(said)["code"]) == (3, "push-unanswered")


def test_without_credentials(gen: Gen) -> None:
    """Without AWS credentials it says how to get some, exit 3."""
    said = gen("image", "push")
    assert said.code == 3
    assert "there are no AWS credentials" in said.stderr
    assert "aws sso login" in said.stderr


def test_profile_that_does_not_exist(gen: Gen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that is not there is named, exit 3."""
    monkeypatch.setenv("AWS_PROFILE", "team-x")
    said = gen("image", "push")
    assert said.code == 3
    assert "The profile is team-x" in said.stderr
    assert "name a profile" in said.stderr


@pytest.mark.usefixtures("aws")
def test_aws_out_of_reach(gen: Gen, monkeypatch: pytest.MonkeyPatch) -> None:
    """An AWS that does not answer is told from one that refuses, exit 3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    said = gen("image", "push", "--format", "json")
    assert (said.code, problem(said)["code"]) == (3, "aws-unreachable")


@contextmanager
def _refusing_aws(code: str) -> Iterator[str]:
    """The address of an AWS that refuses every call; moto never says that something expired."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = f"<ErrorResponse><Error><Code>{code}</Code><Message>No</Message></Error></ErrorResponse>"
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("refusal", "code", "advice"),
    [
        ("ExpiredToken", "aws-expired", "aws sso login"),
        ("InvalidClientTokenId", "aws-bad-credentials", "AWS_PROFILE"),
        ("SignatureDoesNotMatch", "aws-bad-credentials", "AWS_PROFILE"),
        ("AccessDenied", "aws-denied", "have the right given"),
    ],
)
@pytest.mark.usefixtures("aws")
def test_refusals_of_aws(
    gen: Gen, monkeypatch: pytest.MonkeyPatch, refusal: str, code: str, advice: str
) -> None:
    """Expired, unknown and powerless credentials are three problems, each with its way out."""
    with _refusing_aws(refusal) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        said = gen("image", "push", "--format", "json")
    assert said.code == 3
    assert problem(said)["code"] == code
    assert advice in problem(said)["fix"]


LAYERS = (
    {"status": "Preparing", "id": "a1"},
    {"status": "Pushing", "id": "a1", "progressDetail": {"current": 10**6, "total": 3 * 10**6}},
    {"status": "Pushing", "id": "a1", "progressDetail": {"current": 2 * 10**6, "total": 3 * 10**6}},
    {"status": "Retrying in 2 seconds", "id": "b2"},
    {"status": "Retrying in 1 second", "id": "b2"},
    {"status": "Layer already \x1b[31mexists", "id": "b2"},
    {"status": "Pushed", "id": "a1"},
    *DONE,
)


def test_progress_in_a_log(gen: Gen, engine: StandInEngine) -> None:
    """Where stderr is no terminal each change is a line, without amounts and colours."""
    engine.answer = LAYERS
    said = gen("image", "push", "--repository", "registry.example.com/app")
    assert said.stderr.splitlines() == [
        f"Pushing registry.example.com/app:{VERSION}",
        "a1: Pushing",
        "b2: Retrying",
        "b2: Layer already exists",
        "a1: Pushed",
    ]


@pytest.mark.parametrize("silent", [("--quiet",), ("--format", "json")])
def test_progress_can_be_silenced(gen: Gen, engine: StandInEngine, silent: tuple[str, ...]) -> None:
    """Under --quiet and --format json nothing but the result is printed."""
    engine.answer = LAYERS
    said = gen("image", "push", "--repository", "registry.example.com/app", *silent)
    assert DIGEST in said.stdout
    assert said.stderr == ""


class _Terminal(io.StringIO):
    """A terminal; `screens` are what it shows after each refresh."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.screens: list[list[str]] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        for up, line in re.findall(r"\x1b\[(\d+)F\x1b\[J|([^\n\x1b]*)\n", text):
            self.lines = self.lines[: -int(up)] if up else [*self.lines, line]
        self.screens.append(self.lines)
        return len(text)


def test_progress_on_a_terminal(
    gen: Gen, engine: StandInEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal each layer has one line that moves on, and all are gone at the end."""
    engine.answer = LAYERS
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    gen("image", "push", "--repository", "registry.example.com/app")

    title = f"Pushing registry.example.com/app:{VERSION}"
    assert [title, "a1: Pushing 1.0 MB of 3.0 MB"] in terminal.screens
    assert [title, "a1: Pushing 2.0 MB of 3.0 MB", "b2: Retrying in 2 seconds"] in terminal.screens
    assert [title, "a1: Pushed", "b2: Layer already exists"] in terminal.screens
    assert terminal.lines == [title]
