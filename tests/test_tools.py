"""The outside tools, as tools/install leaves them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.tools import environment, need, schemas

_ROOT = Path(__file__).parent.parent
_PROVIDER_CLASS = """\
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: secrets}
spec: {provider: aws, parameters: {objects: "[]"}}
"""
_BUDGET = """\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: app}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: app}}}
"""


@pytest.mark.parametrize("kubernetes", ["1.36", "1.37"])
@pytest.mark.parametrize("manifest", [_PROVIDER_CLASS, _BUDGET])
def test_schemas_know_the_kinds_that_we_generate(kubernetes: str, manifest: str) -> None:
    """A right manifest is accepted by kubeconform, a wrong one refused for a key too many."""
    assert _kubeconform(kubernetes, manifest) == 0
    assert _kubeconform(kubernetes, manifest.replace("spec: {", "spec: {typo: 1, ")) == 1


def _kubeconform(kubernetes: str, manifest: str) -> int:
    command = [str(need("kubeconform")), "-strict", "-schema-location", schemas(kubernetes), "-"]
    return subprocess.run(command, check=False, input=manifest, text=True).returncode


def test_install_is_a_sound_shell_script() -> None:
    """Nothing in tools/install is a finding of shellcheck."""
    done = subprocess.run(
        [need("shellcheck"), _ROOT / "tools/install"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_install_lists_every_tool_and_its_state() -> None:
    """`tools/install --list` says of each tool whether it is there, and installs nothing."""
    done = subprocess.run(
        [_ROOT / "tools/install", "--list"],
        env=environment() | {"GEN_TOOLS": "/nonexistent"},
        check=True,
        capture_output=True,
        text=True,
    )
    states = {name: state for name, _, state in map(str.split, done.stdout.splitlines())}
    assert states["kubeconform"] == "missing"
    assert set(states.values()) <= {"present", "missing"}
