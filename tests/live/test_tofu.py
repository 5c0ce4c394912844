"""OpenTofu and Terraform on what gen makes: modules and stacks, and an account that moto stands for.

moto knows what exists and what it is like. What a key or a policy really lets through, only AWS knows.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tofu, tools
from tests.golden import CASES
from tests.live.project import new_project
from tests.live.stacks import ACCOUNT, Stacks, moto

_SPEC = f"""\
gen: 1
name: sample-app
owner: "{{{{ owner }}}} ${{x}} \\"web\\""
targets: container
account: "{ACCOUNT}"
environments:
  stage: {{account: "210987654321"}}
  prod:
"""
_MODULES = Path(__file__).parents[2] / "templates/tofu/modules"
every_module = pytest.mark.parametrize("module", sorted(path.name for path in _MODULES.iterdir()))
_GENERATED = sorted(path.parents[1].name for path in CASES.glob("*/out/tofu"))


def _stacks() -> list[str]:
    """The stacks of all cases, and of those that are alike to the byte the first."""
    first: dict[tuple[tuple[str, bytes], ...], str] = {}
    for main in sorted(CASES.glob("*/out/tofu/live/*/*/main.tf")):
        files = sorted(path for path in main.parent.iterdir() if path.is_file())
        what = tuple((path.name, path.read_bytes()) for path in files)
        first.setdefault(what, str(main.parent.relative_to(CASES)))
    return list(first.values())


_STACKS = _stacks()
# With all that a stack can have: for what says nothing new of each further one.
_FULL = [stack for stack in _STACKS if stack.startswith(("new-full/", "new-vm/"))]
programs = pytest.mark.parametrize("program", tofu.PROGRAMS)


@pytest.fixture(scope="module")
def provider() -> Iterator[dict[str, str]]:
    with tofu.provider() as environment:
        yield environment


@programs
@every_module
def test_a_module_keeps_its_promises(
    module: str, program: str, provider: dict[str, str], tmp_path: Path
) -> None:
    """Alone it is valid, and its own tests pass: a plan and an apply with a provider that is a mock."""
    folder = shutil.copytree(_MODULES / module, tmp_path / module)

    tofu.run(program, folder, "init", "-backend=false", env=provider)
    tofu.run(program, folder, "validate", env=provider)
    said = tofu.run(program, folder, "test", env=provider).stdout

    assert re.search(r"\b[1-9][0-9]* passed, 0 failed", said), said


@pytest.mark.parametrize(
    ("stack", "program"),
    [*((stack, "tofu") for stack in _STACKS), *((stack, "terraform") for stack in _FULL)],
)
def test_a_stack_is_valid(
    stack: str, program: str, provider: dict[str, str], tmp_path: Path
) -> None:
    """With the modules that it calls, wherever its state is kept."""
    case = Path(stack).parts[0]
    for part in ("tofu", "releases"):
        shutil.copytree(CASES / case / "out" / part, tmp_path / part)
    folder = tmp_path / Path(stack).relative_to(f"{case}/out")

    tofu.run(program, folder, "init", "-backend=false", env=provider)

    tofu.run(program, folder, "validate", env=provider)


@pytest.mark.parametrize("case", _GENERATED)
def test_it_is_formatted(case: str) -> None:
    assert tofu.run("tofu", CASES / case / "out", "fmt", "-check", "-recursive", "tofu")


@every_module
def test_policies(module: str) -> None:
    """Checkov and trivy find nothing that is not answered where it stands."""
    folder = _MODULES / module
    _nothing_found(folder)


@pytest.mark.parametrize("stack", _FULL)
def test_policies_of_a_stack(stack: str) -> None:
    _nothing_found(CASES / stack)


def _nothing_found(folder: Path) -> None:
    checkov = _json(
        "checkov", "--directory", folder, "--framework", "terraform", "--output", "json"
    )
    trivy = _json("trivy", "config", "--skip-check-update", "--format", "json", folder)
    assert checkov["summary"]["failed"] == 0, checkov["results"]["failed_checks"]
    assert checkov["summary"]["parsing_errors"] == 0
    assert checkov["summary"]["passed"] > 0
    found = [one for result in trivy["Results"] for one in result.get("Misconfigurations") or ()]
    assert not found, found


def _json(tool: str, *arguments: str | Path) -> Any:
    command = [str(tools.need(tool)), *map(str, arguments)]
    done = subprocess.run(
        command, env=tools.environment(), capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def cloud() -> Iterator[dict[str, str]]:
    with moto() as environment:
        yield environment


@pytest.fixture(params=tofu.PROGRAMS)
def stacks(
    request: pytest.FixtureRequest, cloud: dict[str, str], tmp_path: Path
) -> Iterator[Stacks]:
    with tofu.provider(cloud) as attached:
        yield Stacks(new_project(tmp_path, _SPEC), request.param, {**cloud, **attached})


def test_the_registry(stacks: Stacks) -> None:
    """It is made once it was confirmed, a second apply changes nothing, and it goes when it is empty."""
    refused = stacks.make("create-registry", answer="no\n")
    assert refused.returncode != 0
    registry = stacks.client("ecr")
    assert registry.describe_repositories()["repositories"] == []

    made = stacks.make("create-registry")
    again = stacks.make("create-registry")

    assert made.returncode == 0, made.stderr
    assert "5 added" in made.stdout
    assert "No changes" in again.stdout, again.stdout
    (found,) = registry.describe_repositories()["repositories"]
    assert found["repositoryName"] == "sample-app"
    assert found["imageTagMutability"] == "IMMUTABLE"
    assert found["imageScanningConfiguration"] == {"scanOnPush": True}
    assert found["encryptionConfiguration"]["encryptionType"] == "KMS"
    assert f"{ACCOUNT}.dkr.ecr.us-east-2.amazonaws.com/sample-app" in made.stdout
    tags = registry.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
    assert {one["Key"]: one["Value"] for one in tags}.keys() >= {"app", "env", "owner"}
    policy = json.loads(registry.get_repository_policy(repositoryName="sample-app")["policyText"])
    (statement,) = policy["Statement"]
    assert statement["Principal"] == {"AWS": ["arn:aws:iam::210987654321:root"]}

    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": {}, "layers": []}
    image = {"imageTag": "v1", "imageManifest": json.dumps(manifest)}
    registry.put_image(repositoryName="sample-app", **image)
    kept = stacks.make("destroy-registry")
    assert kept.returncode != 0
    assert "RepositoryNotEmptyException" in kept.stderr
    registry.batch_delete_image(repositoryName="sample-app", imageIds=[{"imageTag": "v1"}])
    gone = stacks.make("destroy-registry")
    assert gone.returncode == 0, gone.stderr
    assert registry.describe_repositories()["repositories"] == []


def test_another_account(stacks: Stacks) -> None:
    """With credentials of another account than the spec's nothing is made."""
    main = stacks.project / "tofu/live/shared/ecr/main.tf"
    main.write_text(main.read_text().replace(ACCOUNT, "999999999999"))

    done = stacks.make("create-registry")

    assert done.returncode != 0
    assert f"AWS account ID not allowed: {ACCOUNT}" in done.stderr
    assert stacks.client("ecr").describe_repositories()["repositories"] == []
