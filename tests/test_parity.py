"""Stock copier makes the same project of our templates as our own engine."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import copier
import pytest
from ruamel.yaml import YAML

from generator import generate
from generator.render.context import context
from generator.render.engine import ENVOPS
from generator.render.packs import read_pack, shipped
from generator.tree import EXECUTABLE, REGULAR
from tests.golden import CASES
from tests.program import SMALLEST

TODAY = dt.date(2026, 11, 23)
SPECS = {
    "smallest": SMALLEST,
    **{case.parent.name: case.read_text("utf-8") for case in sorted(CASES.glob("new-*/app.yaml"))},
}


@pytest.mark.parametrize("name", SPECS)
def test_same_files(name: str, tmp_path: Path) -> None:
    """Path by path and byte by byte, and what is executable here is so there."""
    checked = generate.load(SPECS[name].encode(), "app.yaml", TODAY)
    ours = {path: (file.content, file.mode) for path, file in generate.files(checked).items()}
    answers = json.loads(json.dumps(context(checked.project, checked.resolved)))

    copier.run_copy(str(shipped()), tmp_path, data=answers, defaults=True, unsafe=True, quiet=True)

    theirs = {
        file.relative_to(tmp_path).as_posix(): (
            file.read_bytes(),
            EXECUTABLE if file.stat().st_mode & 0o100 else REGULAR,
        )
        for file in sorted(tmp_path.rglob("*"))
        if file.is_file()
    }
    assert ours.keys() == theirs.keys()
    for path, file in ours.items():
        assert file == theirs[path], path


def test_same_settings() -> None:
    """Both render with the same settings, and what our reading of copier.yml takes for exclusions
    is what YAML takes for them."""
    settings = YAML(typ="safe", pure=True).load(shipped() / "copier.yml")

    assert settings["_envops"] == ENVOPS
    assert list(read_pack(shipped()).exclude) == settings["_exclude"]
