"""Every case in tests/cases gives what it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden import CASES, read_case, run, tree


@pytest.mark.parametrize("folder", sorted(CASES.iterdir()), ids=lambda folder: str(folder.name))
def test_case(folder: Path) -> None:
    """The command ends, prints and writes as the case's folder says."""
    case = read_case(folder)

    outcome = run(case)

    expected_stderr = folder / "stderr"
    assert outcome.stderr == (expected_stderr.read_text() if expected_stderr.exists() else "")
    assert outcome.code == case.code
    if (folder / "stdout").exists():
        assert outcome.stdout == (folder / "stdout").read_text()
    assert outcome.tree == tree(folder / "out")
