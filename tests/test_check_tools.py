"""`gen check` and outside tools: what they find, what a broken or missing one does, every golden."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from generator.check.registry import TOOLS
from tests import test_check_servers, tofu, tools
from tests.golden import CASES
from tests.test_check import (
    DEPLOYMENT,
    OVERLAY,
    PROJECTS,
    replace,
    run,
)

RULES = [tool.rule for tool in TOOLS]
IN_CONTAINERS = [name for name in PROJECTS if (CASES / name / "out/k8s").is_dir()]


def only(*rules: str) -> list[str]:
    return [word for rule in rules for word in ("--only", rule)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one environment, so that a tool has little to do."""
    run(tmp_path, "new", "my-app", "--dir", "project")
    return tmp_path / "project"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our tools, and schemas without a network."""
    monkeypatch.setenv("PATH", tools.search_path())
    monkeypatch.setenv("GEN_KUBERNETES_SCHEMAS", str(tools.cache() / "schemas"))


def test_a_missing_tool_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that is not there is named with how to get it, and ends the command under --strict."""
    monkeypatch.setenv("PATH", "/nowhere")

    code, report = run(project, "check")
    strict, refused = run(project, "check", "--strict")

    missing = {one["rule"]: one["note"] for one in report["checks"] if one["status"] == "missing"}
    assert list(missing) == RULES
    assert all("not found; " in note for note in missing.values())
    assert code == 0
    assert (strict, refused["problems"][0]["code"]) == (3, "tool-missing")


# Of two kinds of files one was read: no finding in it says nothing about the other.
_HALF = (
    '{"check_type": "kubernetes", "summary": {"parsing_errors": 0, "passed": 9},'
    ' "results": {"failed_checks": []}}'
)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "answer", ["", "oops", "{}", "null", '{"Results": []}', _HALF, f"[{_HALF}]", "INFO x"]
)
def test_a_broken_tool_is_no_pass(
    project: Path, monkeypatch: pytest.MonkeyPatch, rule: str, answer: str
) -> None:
    """A tool that says nothing, or nothing that is known, is a finding, whatever its exit code."""
    for name in ("kubectl", rule):
        program = project.parent / name
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{project.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")

    code, report = run(project, "check", *only(rule))

    assert code == 1
    assert {one["rule"] for one in report["findings"]} == {rule}
    assert all("ended without an answer" in one["message"] for one in report["findings"])


@pytest.mark.parametrize("rule", [tool.rule for tool in TOOLS if "kubectl" in tool.programs])
@pytest.mark.usefixtures("here")
def test_an_overlay_that_cannot_be_built_is_found_once(project: Path, rule: str) -> None:
    """Tools that read what kubectl builds agree on the finding when it builds nothing."""
    tools.need("kubectl")
    tools.need(rule)
    replace(project, OVERLAY, "kind: Kustomization", "kind: Kustomisation")

    code, report = run(project, "check", *only(rule))

    (found,) = report["findings"]
    assert (code, found["rule"], found["file"]) == (1, "kustomize", "k8s/overlays/prod")


_ROOT = ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")


@pytest.mark.parametrize(
    ("tool", "edits", "found"),
    [
        ("hadolint", [("Dockerfile", "WORKDIR /app", "WORKDIR app")], {"hadolint/DL3000": True}),
        (
            "kubeconform",
            [(DEPLOYMENT, "periodSeconds: 10", "periodSecond: 10")],
            {"kubeconform": False},
        ),
        (
            "kubernetes-validate",
            [(DEPLOYMENT, "periodSeconds: 10", "periodSecond: 10")],
            {"kubernetes-validate": False},
        ),
        (
            "checkov",
            [(DEPLOYMENT, *_ROOT), ("Dockerfile", "EXPOSE 8080", "EXPOSE 22")],
            {"checkov/CKV_K8S_22": False, "checkov/CKV_DOCKER_1": True},
        ),
        (
            "trivy",
            [(DEPLOYMENT, *_ROOT), ("Dockerfile", "EXPOSE 8080", "EXPOSE 22")],
            {"trivy/KSV-0014": False, "trivy/DS-0004": True},
        ),
    ],
)
@pytest.mark.usefixtures("here")
def test_an_outside_tool_finds(
    project: Path, tool: str, edits: list[tuple[str, str, str]], found: dict[str, bool]
) -> None:
    """What a tool reports becomes a finding of ours, with the line where the tool read our file."""
    tools.need("kubectl")
    tools.need(tool)
    for edit in edits:
        replace(project, *edit)

    code, report = run(project, "check", *only(tool))

    lines = {one["rule"]: one["line"] > 0 for one in report["findings"]}
    assert lines.items() >= found.items()
    assert {one["file"] for one in report["findings"]} <= {"Dockerfile"} | {
        f"k8s/overlays/{folder.name}" for folder in (project / "k8s/overlays").iterdir()
    }
    assert all(one["message"] and one["fix"] for one in report["findings"])
    assert code == 1


_TASKS = "ansible/roles/my_app/tasks/main.yml"
_ROLLBACK = "ansible/rollback_playbook.yml"


@pytest.mark.parametrize(
    ("tool", "file", "old", "new", "found"),
    [
        ("ansible-lint", _TASKS, '"0755"', "0755", "ansible-lint/yaml[octal-values]"),
        ("ansible-playbook", _ROLLBACK, "  become: true", "  becomes: true", "ansible-playbook"),
        ("shellcheck", "ansible/release.sh", '"$1" "${3-}"', "$1 ${3-}", "shellcheck/SC2086"),
        (
            "shellcheck",
            "package.sh",
            '"$scratch/archive" "',
            '$scratch/archive "',
            "shellcheck/SC2086",
        ),
        ("shellcheck", "k8s/release.sh", "main() {", "main() {\n  rm $1", "shellcheck/SC2086"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_tool_finds_in_playbooks_and_scripts(
    project: Path, *, tool: str, file: str, old: str, new: str, found: str
) -> None:
    """What a tool reports is in the project's file and the line that was edited, copy or not."""
    tools.need(tool)
    before = (project / file).read_text()
    replace(project, file, old, new)
    listing = sorted(project.rglob("*"))

    code, report = run(project, "check", *only(tool))

    (first, *_) = report["findings"]
    assert (first["rule"], first["file"]) == (found, file)
    edited = before.count("\n", 0, before.index(old)) + 1
    assert first["line"] in (edited, edited + new.count("\n"))
    assert first["message"]
    assert first["fix"]
    assert code == 1
    assert sorted(project.rglob("*")) == listing


_REGISTRY = "tofu/live/shared/ecr"


@pytest.mark.usefixtures("here")
def test_tofu_finds(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stack that was not initialised is said; then what is not formatted, and what is not valid."""
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", tofu.environment()["TF_CLI_CONFIG_FILE"])
    tofu.need("tofu")
    _, report = run(project, "check", *only("tofu"))
    (ran,) = report["checks"]
    assert (ran["status"], report["findings"]) == ("missing", [])
    assert "tofu -chdir=tofu/live/prod/asg init" in ran["note"]

    for stack in project.glob("tofu/live/*/*"):
        tofu.run("tofu", stack, "init", "-backend=false")
    code, report = run(project, "check", *only("tofu"))
    assert (code, report["findings"]) == (0, [])
    # It warns of settings that are not there, before its answer.
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", "/nowhere")
    code, report = run(project, "check", *only("tofu"))
    assert (code, report["findings"]) == (0, [])

    main = f"{_REGISTRY}/main.tf"
    replace(project, main, '  name = "my-app"', '  name =  "my-app"\n  nmae = 1')
    line = (project / main).read_text().split("nmae")[0].count("\n") + 1
    code, report = run(project, "check", *only("tofu"))
    assert [(one["rule"], one["file"], one["line"]) for one in report["findings"]] == [
        ("tofu/fmt", main, 0),
        ("tofu/validate", main, line),
    ]
    assert "nmae" in report["findings"][1]["message"]
    assert code == 1


@pytest.mark.parametrize(
    ("tool", "rule"), [("checkov", "checkov/CKV_AWS_51"), ("trivy", "trivy/AWS-0031")]
)
@pytest.mark.usefixtures("here")
def test_a_scanner_finds_in_stacks(project: Path, tool: str, rule: str) -> None:
    """In the module's file, on the lines of what is wrong."""
    for program in ("kubectl", tool):
        tools.need(program)
    main = "tofu/modules/ecr-repo/main.tf"
    replace(project, main, '"IMMUTABLE"', '"MUTABLE"')

    _, report = run(project, "check", *only(tool))

    found = {(one["rule"], one["file"]): one["line"] for one in report["findings"]}
    assert set(found) == {(rule, main)}, report["findings"]
    begin = (project / main).read_text().split('resource "aws_ecr_repository"')[0].count("\n") + 1
    assert begin <= found[rule, main] <= begin + 10


@pytest.mark.usefixtures("here")
def test_packer_finds(project: Path) -> None:
    """What is not formatted; and that a packer is too old for what it is to read."""
    packer = tools.need("packer")
    file = "packer/my-app.pkr.hcl"
    _, report = run(project, "check", *only("packer"))
    assert report["findings"] == []
    (ran,) = report["checks"]
    # Debian's is of 2020.
    told = subprocess.run([packer, "version"], check=True, capture_output=True, text=True)
    old = "1.6." in told.stdout
    assert ran["status"] == ("missing" if old else "passed")

    (project / file).write_text((project / file).read_text().replace(" = ", "  = ", 1))
    fmt = subprocess.run(
        [packer, "fmt", "-check", "packer"],
        check=False,
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert (fmt.returncode, fmt.stdout.split()) == (3, [file])


_PACKER_SAYS = """\
Error: Unsupported argument

  on packer/my-app.pkr.hcl line 12:
  (source code not available)

An argument named "colour" is not expected here.

Error: Unsupported argument

  on packer/my-app.pkr.hcl line 12:
  (source code not available)

"""


@pytest.mark.parametrize(
    ("validate", "found"),
    [
        (_PACKER_SAYS, [("packer/fmt", 0), ("packer/validate", 12)]),
        ("Syntax-only check passed. Everything looks okay.\n", [("packer/fmt", 0)]),
    ],
)
def test_what_a_newer_packer_finds(
    project: Path, monkeypatch: pytest.MonkeyPatch, validate: str, found: list[tuple[str, int]]
) -> None:
    """By its words, once each."""
    program = project.parent / "packer"
    code = 1 if validate == _PACKER_SAYS else 0
    program.write_text(
        "#!/bin/sh\n"
        "case $1 in fmt) echo packer/my-app.pkr.hcl; exit 3 ;; esac\n"
        f"cat <<'END' >&2\n{validate}END\nexit {code}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{project.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")

    _, report = run(project, "check", *only("packer"))

    assert [(one["rule"], one["line"]) for one in report["findings"]] == found
    assert {one["file"] for one in report["findings"]} == {"packer/my-app.pkr.hcl"}


_LINTED = """\
[{"check_name": "syntax-check[unknown-module]", "location": {"path": "x", "positions": {"begin": {"line": 4}}},
"description": "couldn't resolve module/action 'amazon.aws.aws_caller_info'."}]
"""


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        (
            "ansible-playbook",
            "[ERROR]: couldn't resolve module/action 'amazon.aws.aws_caller_info'. This ...",
        ),
        (
            "ansible-lint",
            _LINTED,
        ),
    ],
)
def test_collections_that_are_not_installed_are_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, tool: str, said: str
) -> None:
    """Without the collections nothing was checked: neither a pass nor a finding."""
    program = project.parent / tool
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\nexit 2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{project.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")

    code, report = run(project, "check", *only(tool))

    (ran,) = report["checks"]
    assert (code, ran["status"], report["findings"]) == (0, "missing", [])
    assert "ansible-galaxy collection install" in ran["note"]


def test_a_tool_that_reads_nothing_is_no_pass(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty list of findings about no file at all is not an answer."""
    program = project.parent / "ansible-lint"
    program.write_text(
        "#!/bin/sh\necho '[]'\necho 'Passed: 0 failure(s) in 0 files processed of 0' >&2\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{project.parent}{os.pathsep}/usr/bin{os.pathsep}/bin")

    _, report = run(project, "check", *only("ansible-lint"))

    (found,) = report["findings"]
    assert "ended without an answer" in found["message"]


@pytest.mark.parametrize(
    ("targets", "idle"),
    [
        (
            "[server]",
            {
                "hadolint",
                "kubeconform",
                "kubernetes-validate",
                "checkov",
                "packer",
                "tofu",
                "trivy",
            },
        ),
        ("[container]", {"ansible-lint", "ansible-playbook", "packer"}),
    ],
)
def test_a_tool_without_anything_to_read_is_idle(
    targets: str, idle: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A project has nothing for the tools of approaches that it does not take."""
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "app.yaml").write_text(f"gen: 1\nname: one\ntargets: {targets}\n")
    run(tmp_path, "new", "--spec", "app.yaml", "--dir", "out")

    _, report = run(tmp_path / "out", "check")

    tool_checks = [one for one in report["checks"] if one["rule"] in RULES]
    assert {one["rule"] for one in tool_checks if one["status"] == "idle"} == idle
    assert report["findings"] == []


@pytest.mark.parametrize("kind", ["nodejs", "python"])
@pytest.mark.usefixtures("here")
def test_playbooks_and_scripts_pass_the_tools(kind: str, tmp_path: Path) -> None:
    """What gen makes with every key of servers, and of both languages, passes; nothing is skipped."""
    rules = ("ansible-lint", "ansible-playbook", "shellcheck")
    for tool in rules:
        tools.need(tool)
    specs = {"nodejs": test_check_servers.SPEC, "python": test_check_servers.PYTHON}
    project = test_check_servers.make(tmp_path, specs[kind])

    _, report = run(project, "check", *only(*rules))

    assert report["findings"] == []
    assert {one["status"] for one in report["checks"]} == {"passed"}


@pytest.mark.usefixtures("here")
def test_the_next_version_of_kubernetes_is_looked_at(project: Path) -> None:
    """Every overlay is held against two versions; one too new to be known is left out."""
    tools.need("kubectl")
    tools.need("kubernetes-validate")
    replace(project, DEPLOYMENT, "periodSeconds: 10", "periodSecond: 10")

    _, report = run(project, "check", *only("kubernetes-validate"))

    versions = {one["message"].partition("Kubernetes ")[2][:4] for one in report["findings"]}
    assert versions == {"1.36", "1.37"}


@pytest.mark.parametrize("name", IN_CONTAINERS)
@pytest.mark.parametrize("kubernetes", ["1.36", "1.37"])
def test_goldens_fit_kubernetes(
    name: str, kubernetes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every golden passes hadolint, and kubeconform against this and the next minor version."""
    for tool in ("kubectl", "kubeconform", "hadolint"):
        tools.need(tool)
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "1.36").symlink_to(tools.cache() / "schemas" / kubernetes)
    monkeypatch.setenv("PATH", tools.search_path())
    monkeypatch.setenv("GEN_KUBERNETES_SCHEMAS", str(schemas))
    case = CASES / name
    source = ["--spec", str(case / "app.yaml")] if (case / "app.yaml").exists() else ["my-app"]
    run(tmp_path, "new", *source, "--dir", "out")

    _, report = run(tmp_path / "out", "check", *only("hadolint", "kubeconform"))

    assert report["findings"] == []
    assert {one["status"] for one in report["checks"]} == {"passed"}


@pytest.mark.parametrize("image", ["new-python", "new-nasty"])
@pytest.mark.usefixtures("here")
def test_goldens_pass_the_scanners(image: str, tmp_path: Path) -> None:
    """Every overlay of every golden, and the images of both languages, pass all checks of each tool.

    All goldens are overlays of one project here, since starting a scanner takes longer than a scan.
    """
    scanners = ("checkov", "trivy", "kubernetes-validate")
    for tool in ("kubectl", *scanners):
        tools.need(tool)
    goldens = IN_CONTAINERS if image == "new-python" else [image]
    overlays = [
        overlay for name in goldens for overlay in (CASES / name / "out/k8s/overlays").iterdir()
    ]
    environments = ", ".join(f"e{at}: {{}}" for at, _ in enumerate(overlays))
    (tmp_path / "app.yaml").write_text(
        f"gen: 1\nname: all\nowner: us\ntargets: [container]\n"
        f"container: {{cluster: theirs}}\nenvironments: {{{environments}}}\n"
    )
    run(tmp_path, "new", "--spec", "app.yaml", "--dir", "all")
    project = tmp_path / "all"
    for name in goldens:
        shutil.copytree(CASES / name / "out", project / "goldens" / name)
    for at, overlay in enumerate(overlays):
        there = overlay.relative_to(CASES)
        (project / f"k8s/overlays/e{at}/kustomization.yaml").write_text(
            f"resources: [../../../goldens/{str(there).replace('/out/', '/', 1)}]\n"
        )
    shutil.copy(CASES / image / "out/Dockerfile", project / "Dockerfile")

    _, report = run(project, "check", *only(*scanners))

    assert report["findings"] == []
    counts = {one["rule"]: int(one["note"].removesuffix(" passed")) for one in report["checks"]}
    assert counts.keys() == set(scanners)
    # Far below what is there, far above what a tool says that did not see the half of it.
    assert all(count > 9 * len(overlays) for count in counts.values()), counts


@pytest.mark.usefixtures("here")
def test_braces_in_a_config_value_hide_nothing_from_checkov(tmp_path: Path) -> None:
    """It reads no file that looks like a template: the value is taken apart for it, and all else is
    scanned."""
    for tool in ("kubectl", "checkov"):
        tools.need(tool)
    (tmp_path / "app.yaml").write_text(
        "gen: 1\nname: braces\ntargets: container\nconfig: {A: 'x {{ .Values.x }} y'}\n"
    )
    run(tmp_path, "new", "--spec", "app.yaml", "--dir", "out")

    code, report = run(tmp_path / "out", "check", *only("checkov"))

    assert (code, report["findings"]) == (0, [])
