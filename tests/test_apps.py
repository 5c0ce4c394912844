"""The app of every golden keeps its contract: its own tests pass, as a person would run them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import tools
from tests.golden import CASES

NODE = sorted(file.parents[2].name for file in CASES.glob("new-*/out/*/server.js"))
NODE += sorted(file.parents[3].name for file in CASES.glob("new-*/out/*/*/server.js"))
PYTHON = sorted(file.parents[2].name for file in CASES.glob("new-*/out/*/server.py"))


def _make_test(name: str, folder: Path) -> str:
    project = shutil.copytree(CASES / name / "out", folder / "project")
    done = subprocess.run(
        ["make", "test"],
        cwd=project,
        env=tools.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", NODE)
def test_nodejs(name: str, tmp_path: Path) -> None:
    """`make test` passes on the Node.js of the spec, and no test is skipped but for what is absent."""
    tools.need("node")
    tools.need("npm")

    assert "fail 0" in _make_test(name, tmp_path)


@pytest.mark.parametrize("name", PYTHON)
def test_python(name: str, tmp_path: Path) -> None:
    """`make test` installs the locked server and passes."""
    assert "OK" in _make_test(name, tmp_path)
