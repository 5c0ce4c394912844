"""OpenTofu and Terraform, as the tests call them: nothing is asked of the outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def provider(env: dict[str, str] | None = None) -> Iterator[dict[str, str]]:
    """The environment for commands that share one process of the AWS provider.

    Each command would start one of its own several times over, which takes most of its time. What
    cloud the shared one asks, and as whom, its own environment says. Empty where the machine has no
    mirror.
    """
    mirror = tools.cache() / "providers"
    programs = sorted(mirror.glob("*/hashicorp/aws/*/*/terraform-provider-aws*"))
    if not programs:
        yield {}
        return
    # Of certificates it takes none a second time; a stand-in for AWS on this machine has none.
    kept = {name: value for name, value in environment().items() if name != "AWS_CA_BUNDLE"}
    process = subprocess.Popen(
        [str(programs[-1]), "-debug"],
        env={**kept, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        told = next(found for line in process.stdout if (found := re.search(r"'({.*})'", line)))
        (where,) = json.loads(told[1]).values()
        # Each program asks for it under the host of its own registry.
        hosts = [path.name for path in mirror.iterdir()]
        yield {
            "TF_REATTACH_PROVIDERS": json.dumps({f"{host}/hashicorp/aws": where for host in hosts})
        }
    finally:
        process.terminate()
        process.wait()


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
