"""Shows what a rollout does, on a control plane of its own: `make watch`.

    python -m tests.live.watch [rolling|blue_green|canary]

A sample project is made and released by its own Makefile: a first version, a second one, one that
never becomes ready, and a rollback. What the commands print stands behind a bar; in between, a line
for every change of the pods: `#` is a pod that serves, `.` one that does not yet.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.live.cluster import NoClusterError, running
from tests.live.releases import ACCOUNT, App, Seen, new_app, watching

_SPEC = f"""\
gen: 1
name: sample-app
account: "{ACCOUNT}"
targets: container
rollout: {{{{strategy: {{strategy}}, bake: 10s}}}}
container: {{{{cluster: local}}}}
environments:
  prod:
"""
_STEPS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("the first version", "deploy-container", {"VERSION": "v1"}),
    ("the next one", "deploy-container", {"VERSION": "v2"}),
    ("one that never becomes ready", "deploy-container", {"VERSION": "v3-broken"}),
    ("back to the version before", "rollback-container", {}),
)


def show(strategy: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _say(f"starting a control plane; the project is in {scratch}/app/project")
        _say("# is a pod that serves, . one that does not yet; what the commands print has a bar")
        folder = Path(scratch) / "cluster"
        folder.mkdir()
        with running(folder) as cluster:
            app = new_app(cluster, Path(scratch) / "app", _SPEC.format(strategy=strategy))
            app.push("v1", "v2", "v3-broken")
            with _telling(app):
                for title, goal, variables in _STEPS:
                    _show_step(app, title, goal, variables)


def _show_step(app: App, title: str, goal: str, variables: dict[str, str]) -> None:
    words = [f"{name}={value}" for name, value in {"ENV": "prod", **variables}.items()]
    _say(f"\n{title}\n$ make {goal} {' '.join(words)}")
    process = subprocess.Popen(
        app.cluster.inside(["make", "--silent", goal, *words]),
        cwd=app.project,
        env={**app.cluster.environment, "KUBE_CONTEXT": "local"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if not line.endswith((" created\n", " unchanged\n", " configured\n")):
            _say(f"  | {line.rstrip()}")
    _say(f"  exit {process.wait()}")


@contextmanager
def _telling(app: App) -> Iterator[None]:
    """A line whenever the pods of prod change, with the time since the beginning."""
    began, last, ended = time.monotonic(), "", threading.Event()

    def tell(seen: Seen) -> None:
        nonlocal last
        line = _pods(seen)
        if line != last:
            _say(f"  {time.monotonic() - began:5.1f} s  {line}")
            last = line

    # A namespace that is not there yet has no pods either: the watch waits for them.
    with watching(app, "prod", "pods") as seen:
        thread = threading.Thread(target=_until, args=(ended, lambda: tell(seen)), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _until(ended: threading.Event, act: Callable[[], None]) -> None:
    while not ended.wait(0.2):
        act()


def _pods(seen: Seen) -> str:
    """The pods of each version, oldest version first."""
    pods: dict[str, tuple[str, bool]] = {}
    for event in list(seen.events):
        pod = event["object"]
        name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
        ready = any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in pod["status"].get("conditions", [])
        )
        pods[name] = (f"{labels['app.kubernetes.io/version']} {labels.get('color', '')}", ready)
        if event["type"] == "DELETED":
            del pods[name]
    versions = sorted({version for version, _ in pods.values()})
    return "   ".join(
        f"{version.strip()} {''.join(sorted('#' if ready else '.' for v, ready in pods.values() if v == version))}"
        for version in versions
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    strategy = sys.argv[1] if len(sys.argv) > 1 else "rolling"
    if strategy not in ("rolling", "blue_green", "canary"):
        sys.stderr.write(__doc__ or "")
        return 2
    try:
        show(strategy)
    except NoClusterError as problem:
        sys.stderr.write(f"{problem}; to get it: {problem.remedy}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
