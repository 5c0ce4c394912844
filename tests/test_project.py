"""`.gen/`: what gen remembers of what it wrote."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ruamel.yaml import YAML

from generator.cli import main


def _made(folder: Path) -> Path:
    assert main(["new", "my-app", "--dir", str(folder), "--quiet"]) == 0
    return folder


def _bases(project: Path) -> dict[str, bytes]:
    """The stored contents by their hash."""
    found = {}
    for file in (project / ".gen/base").iterdir():
        rest = file.read_bytes()
        while rest:
            head, _, rest = rest.partition(b"\n")
            name, size = head.decode().split(" ")
            found[name], rest = rest[: int(size)], rest[int(size) + 1 :]
    return found


def test_the_lock_knows_every_file(tmp_path: Path) -> None:
    """The lock lists each generated file with the hash of what is on disk."""
    project = _made(tmp_path / "my-app")
    lock = YAML(typ="safe").load(project / ".gen/lock.yaml")

    on_disk = {
        path.relative_to(project).as_posix(): path
        for path in project.rglob("*")
        if path.is_file() and ".gen" not in path.parts and path.name != "app.yaml"
    }

    assert set(lock["files"]) == set(on_disk)
    for name, entry in lock["files"].items():
        digest, *flag = entry.split(" ")
        assert digest == hashlib.sha256(on_disk[name].read_bytes()).hexdigest()
        assert (flag == ["x"]) == bool(on_disk[name].stat().st_mode & 0o100)


def test_every_base_is_stored(tmp_path: Path) -> None:
    """What gen wrote can be had again by its hash: an update needs it."""
    project = _made(tmp_path / "my-app")
    lock = YAML(typ="safe").load(project / ".gen/lock.yaml")
    bases = _bases(project)

    assert {entry.split(" ")[0] for entry in lock["files"].values()} == set(bases)
    assert all(hashlib.sha256(content).hexdigest() == name for name, content in bases.items())


def test_the_lock_writes_down_what_ages(tmp_path: Path) -> None:
    """Targets, runtime and Kubernetes stay what they were when the project was made."""
    project = _made(tmp_path / "my-app")

    lock = YAML(typ="safe").load(project / ".gen/lock.yaml")

    assert lock["resolved"] == {
        "kubernetes": "1.36",
        "release": "24.21.0",
        "runtime": "24",
        "targets": ["server", "vm", "container"],
    }


def test_a_project_can_move(tmp_path: Path) -> None:
    """Nothing in `.gen/` names the folder, the day or the machine."""
    one = _made(tmp_path / "one")
    other = _made(tmp_path / "two/below")

    files = {path.relative_to(one) for path in (one / ".gen").rglob("*") if path.is_file()}

    assert files == {p.relative_to(other) for p in (other / ".gen").rglob("*") if p.is_file()}
    assert all((one / file).read_bytes() == (other / file).read_bytes() for file in files)
