"""Generated projects in a cluster: their own scripts deploy them, and what happens is watched."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.cluster import REGION, Cluster
from tests.live.project import new_project

ACCOUNT = "123456789012"


@dataclass(frozen=True)
class App:
    """A generated project whose environments all are in one cluster."""

    cluster: Cluster
    project: Path
    name: str

    def push(self, *versions: str) -> None:
        """Give the registry an image of each version: it holds what `describe-images` tells."""
        with suppress(AssertionError):  # the repository is there already
            self.cluster.aws("ecr", "create-repository", f"--repository-name={self.name}")
        for version in versions:
            kind = "application/vnd.oci.image.manifest.v1+json"
            manifest = {"schemaVersion": 2, "mediaType": kind, "config": {"digest": version}}
            self.cluster.aws(
                *("ecr", "put-image", f"--repository-name={self.name}", f"--image-tag={version}"),
                f"--image-manifest={json.dumps({**manifest, 'layers': []})}",
            )

    def make(self, goal: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a goal of the project's Makefile."""
        words = [f"{name}={value}" for name, value in variables.items()]
        return self._run(["make", "--silent", goal, *words])

    def release(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the project's release script."""
        return self._run(["k8s/release.sh", *words], **environment)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Begin the project's release script, in a process group of its own."""
        return subprocess.Popen(
            self.cluster.inside(["k8s/release.sh", *words]),
            cwd=self.project,
            env={**self.cluster.environment, "KUBE_CONTEXT": "local"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def interrupt(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        """What Ctrl-C does to all that belongs to a command, and how that ended."""
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def _run(self, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        env = {"KUBE_CONTEXT": "local", **environment}
        return self.cluster.run(command, cwd=self.project, env=env, check=False, timeout=300)

    def kubectl(self, environment: str, *arguments: str, stdin: str = "") -> str:
        return self.cluster.kubectl(
            "--namespace", f"{self.name}-{environment}", *arguments, stdin=stdin
        )

    def get(self, environment: str, *arguments: str) -> Any:
        return self.cluster.get("--namespace", f"{self.name}-{environment}", *arguments)

    def record(self, environment: str) -> str:
        return (self.project / "releases" / environment / "kustomization.yaml").read_text()

    def edit(self, file: str, old: str, new: str) -> None:
        """What a person may do by hand."""
        path = self.project / file
        text = path.read_text()
        changed = re.sub(old, new, text)
        assert changed != text, f"{file} has no {old}"
        path.write_text(changed)

    def answer(self, environment: str, service: str = "") -> str:
        """The version that a Service answers with."""
        where = f"{self.name}-{environment}/{service or self.name}"
        version: str = json.loads(self.cluster.call(where, "/version"))["version"]
        return version


def new_app(cluster: Cluster, folder: Path, spec: str) -> App:
    """A project of a spec, hurried: a pod counts after a second, a rollout fails after 15 s."""
    folder.mkdir(exist_ok=True)
    name = re.search(r"^name: (.*)$", spec, re.MULTILINE)
    assert name
    app = App(cluster, new_project(folder, spec), name[1])
    app.edit("k8s/base/deployment.yaml", "minReadySeconds: 10", "minReadySeconds: 1")
    for overlay in (app.project / "k8s/overlays").iterdir():
        patch = f"k8s/overlays/{overlay.name}/deployment-patch.yaml"
        app.edit(patch, "progressDeadlineSeconds: [0-9]+", "progressDeadlineSeconds: 15")
    return app


@dataclass
class Seen:
    """What a watch of the API saw: every change, as an event with its type and object."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def totals(self, count: Callable[[dict[str, Any]], int]) -> list[int]:
        """After each event: what was counted of every object that there was then, together."""
        counts: dict[str, int] = {}
        found = []
        for event in list(self.events):
            counts[event["object"]["metadata"]["name"]] = (
                0 if event["type"] == "DELETED" else count(event["object"])
            )
            found.append(sum(counts.values()))
        return found

    def weights(self) -> list[dict[str, int]]:
        """After each event of an Ingress: how many of 100 requests go to which Service."""
        annotations = [event["object"]["metadata"]["annotations"] for event in self.events]
        actions = [json.loads(one[_BY_COLOR]) for one in annotations if _BY_COLOR in one]
        return [
            {one["serviceName"]: one["weight"] for one in action["forwardConfig"]["targetGroups"]}
            for action in actions
        ]


_BY_COLOR = "alb.ingress.kubernetes.io/actions.by-color"


def ready_addresses(endpoint_slice: dict[str, Any]) -> int:
    """How many addresses of an EndpointSlice get requests."""
    return sum(
        len(one["addresses"])
        for one in endpoint_slice["endpoints"] or []
        if one["conditions"].get("ready")
    )


@contextmanager
def watching(app: App, environment: str, *what: str) -> Iterator[Seen]:
    """Every change of some objects, for as long as the block runs."""
    seen = Seen()
    command = ["kubectl", f"--namespace={app.name}-{environment}", "get", *what]
    process = subprocess.Popen(
        app.cluster.inside([*command, "--watch", "--output=json", "--output-watch-events"]),
        env=app.cluster.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    reader = threading.Thread(target=_read, args=(process.stdout, seen.events), daemon=True)
    reader.start()
    try:
        yield seen
    finally:
        process.terminate()
        reader.join()
        process.wait()


def _read(lines: Iterable[str], events: list[dict[str, Any]]) -> None:
    events.extend(map(json.loads, lines))


@contextmanager
def asking(app: App, environment: str) -> Iterator[list[str]]:
    """What the app's Service answers, again and again, for as long as the block runs."""
    answers: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.3):
            try:
                answers.append(app.answer(environment))
            except AssertionError as problem:
                answers.append(str(problem))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


def registry(app: App) -> str:
    """Where the images of an app are."""
    return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{app.name}"
