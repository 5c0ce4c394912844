"""OpenTofu and Terraform, as the tests call them: nothing is asked of the outside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import tools

PROGRAMS = ("tofu", "terraform")


def environment() -> dict[str, str]:
    """Providers come from the mirror of tools/install alone."""
    settings = tools.cache() / "tofu.rc"
    return {
        **tools.environment(),
        "TF_CLI_CONFIG_FILE": str(settings if settings.exists() else os.devnull),
        "TF_IN_AUTOMATION": "1",
        "CHECKPOINT_DISABLE": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def need(program: str) -> Path:
    """The program's path. Terraform has no package that can be installed: where a machine lacks it
    the test is skipped, even where all tools are required."""
    if program == "terraform":
        found = tools.find(program)
        return found or pytest.skip("terraform is not installed, and tools/install has none")
    return tools.need(program)


def run(
    program: str,
    folder: Path,
    *arguments: str,
    env: dict[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command of one of them in a folder, without colors."""
    verb, *rest = arguments
    done = subprocess.run(
        [str(need(program)), f"-chdir={folder}", verb, "-no-color", *rest],
        env={**environment(), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done
