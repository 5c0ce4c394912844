"""Projects under test: written by `gen`, versioned by git, built by their own Makefile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import tools
from tests.live.containers import Image
from tests.live.engine import Engine


def new_project(folder: Path, spec: str) -> Path:
    """Let `gen new` make a project of a spec, in a folder below the given one."""
    (folder / "app.yaml").write_text(spec)
    project = folder / "project"
    _run(folder, sys.executable, "-m", "generator", "new", "--spec", "app.yaml", "--dir", "project")
    return project


def release(project: Path, version: str) -> str:
    """Commit everything, tag it (what is built is `git describe`) and return the commit."""
    if not (project / ".git").exists():
        _git(project, "init", "--quiet")
    _git(project, "add", "--all")
    _git(project, "commit", "--quiet", "--allow-empty", "--message", version)
    _git(project, "tag", version)
    return _git(project, "rev-parse", "HEAD")


def build(project: Path, name: str, engine: Engine, base_image: str) -> Image:
    """Build the image as the project's README says; `name` is the spec's."""
    version = _git(project, "describe", "--tags", "--always", "--dirty")
    command = ["make", "build-container", f"BASE_IMAGE={base_image}"]
    _run(project, *command, environment=engine.environment)
    return Image(engine, f"{name}:{version}")


def build_server(project: Path, version: str) -> Path:
    """Pack a version for servers as the project's README says."""
    _run(project, "make", "build-server", f"VERSION={version}")
    (archive,) = (project / "build").glob(f"*-{version}.tar")
    return archive


def _git(project: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    return _run(project, "git", *identity, *arguments)


def _run(folder: Path, *command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment or tools.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    shown = f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode == 0, shown
    return done.stdout.strip()
