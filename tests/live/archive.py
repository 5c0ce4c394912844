"""A mirror of Node: archives as its makers publish them, of the node that tools/install has."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import tarfile
from pathlib import Path

from tests import tools

_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


def make_mirror(folder: Path) -> str:
    """Fill the folder with v<VERSION>/, an archive and its checksums; returns the version."""
    node = tools.cache() / "node/bin/node"
    if not node.exists():
        tools.missing("node is not installed", "tools/install node")
    said = subprocess.run([node, "--version"], check=True, capture_output=True, text=True)
    version = said.stdout.strip()
    release = folder / version
    release.mkdir(parents=True)
    name = f"node-{version}-linux-{_MACHINES[platform.machine()]}"
    archive = release / f"{name}.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        # What is missing is npm, which no server needs.
        for part in ("bin", "include", "share", "LICENSE", "README.md"):
            tar.add(node.parent.parent / part, f"{name}/{part}")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    (release / "SHASUMS256.txt").write_text(f"{digest}  {archive.name}\n")
    return version.removeprefix("v")
