"""Finds the outside tools that tests need, and says what a test does without one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn


def cache() -> Path:
    """Where tools/install puts its tools."""
    chosen = os.environ.get("GEN_TOOLS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gen-tools"


def search_path() -> str:
    """PATH with our tools first; the system's folders too, since nginx is in one of them."""
    folders = [str(cache() / "bin"), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]
    return os.pathsep.join(folders)


def environment() -> dict[str, str]:
    """The environment in which a command finds our tools before others of the same name."""
    return {**os.environ, "PATH": search_path()}


def find(tool: str) -> Path | None:
    found = shutil.which(tool, path=search_path())
    return Path(found) if found else None


def need(tool: str) -> Path:
    """The tool's path; without it the test is skipped, or fails where tools are required."""
    return find(tool) or missing(f"{tool} is not installed", f"tools/install {tool}")


def schemas(kubernetes: str) -> str:
    """What kubeconform takes as -schema-location for a version of Kubernetes: no network."""
    folder = cache() / "schemas" / kubernetes
    if not folder.is_dir():
        missing(f"no schemas of Kubernetes {kubernetes}", "tools/install kubernetes-schemas")
    return f"{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"


def missing(reason: str, remedy: str) -> NoReturn:
    """Skip the test; where GEN_REQUIRE_TOOLS=1 (CI) fail it, so that nothing is passed over."""
    # Here, since the engine also serves tools/install, which has no pytest.
    import pytest

    message = f"{reason}; to get it: {remedy}"
    if os.environ.get("GEN_REQUIRE_TOOLS") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)
