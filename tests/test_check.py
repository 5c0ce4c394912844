"""`gen check`: no finding on what gen makes, and one for each seam that somebody breaks by hand."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from generator.cli import main
from generator.problems import GenError
from tests import tools
from tests.golden import CASES

OURS = ("--skip", "hadolint", "--skip", "kubeconform")
PROJECTS = sorted(folder.name for folder in CASES.glob("new-*"))


def run(folder: Path, *words: str) -> tuple[int, Any]:
    """Run gen in a folder; returns the exit code and the JSON document."""
    out = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out):
        code = main([*words, "--format", "json"])
    return code, json.loads(out.getvalue())


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the full spec, to be copied."""
    folder = tmp_path_factory.mktemp("made") / "full"
    code, _ = run(folder.parent, "new", "--spec", str(CASES / "new-full/app.yaml"), "--dir", "full")
    assert code == 0
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "project"))


def replace(project: Path, file: str, old: str, new: str) -> None:
    path = project / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize("name", PROJECTS)
def test_nothing_is_found_in_what_gen_makes(name: str, tmp_path: Path) -> None:
    """A new project has no finding of our own checks."""
    case = CASES / name
    source = ["--spec", str(case / "app.yaml")] if (case / "app.yaml").exists() else ["my-app"]
    run(tmp_path, "new", *source, "--dir", "out")
    (tmp_path / "out/app").mkdir(exist_ok=True)
    (tmp_path / "out/app/own").touch()

    code, report = run(tmp_path / "out", "check", *OURS)

    assert report["findings"] == []
    assert code == 0


DEPLOYMENT = "k8s/base/deployment.yaml"
INGRESS = "k8s/overlays/prod/ingress.yaml"
OVERLAY = "k8s/overlays/prod/kustomization.yaml"
PATCH = "k8s/overlays/prod/deployment-patch.yaml"
CLASS = "k8s/overlays/prod/secrets/secret-provider-class.yaml"
BREAKS = [
    ("X-01", "Dockerfile", "EXPOSE 3000", "EXPOSE 8080"),
    ("X-01", "Dockerfile", "PORT=3000", "PORT=8080"),
    ("X-01", DEPLOYMENT, "containerPort: 3000", "containerPort: 8080"),
    ("X-01", DEPLOYMENT, 'value: "3000"', 'value: "8080"'),
    ("X-01", DEPLOYMENT, "port: http", "port: 8080"),
    ("X-01", "k8s/base/service.yaml", "targetPort: http", "targetPort: 8080"),
    ("X-01", "k8s/base/network-policy.yaml", "port: 3000", "port: 8080"),
    ("X-02", "Dockerfile", "/alive", "/healthz"),
    ("X-02", DEPLOYMENT, "path: /alive", "path: /healthz"),
    ("X-02", DEPLOYMENT, "path: /ready", "path: /readyz"),
    ("X-02", INGRESS, "healthcheck-path: /ready", "healthcheck-path: /readyz"),
    ("X-03", "Dockerfile", "BASE_IMAGE=node:24-slim", "BASE_IMAGE=node:22-slim"),
    ("X-04", "Dockerfile", "USER 10001:10001", "USER 1000:10001"),
    ("X-04", DEPLOYMENT, "runAsUser: 10001", "runAsUser: 1000"),
    ("X-05", DEPLOYMENT, "terminationGracePeriodSeconds: 65", "terminationGracePeriodSeconds: 30"),
    ("X-07", INGRESS, "timeout_seconds=45", "timeout_seconds=300"),
    ("X-06", INGRESS, "idle_timeout.timeout_seconds=60", "idle_timeout.timeout_seconds=120"),
    ("X-08", DEPLOYMENT, "failureThreshold: 75", "failureThreshold: 5"),
    (
        "X-11",
        "k8s/overlays/prod/horizontal-pod-autoscaler.yaml",
        "minReplicas: 3",
        "minReplicas: 2",
    ),
    ("X-11", DEPLOYMENT, "spec:\n", "spec:\n  replicas: 3\n"),
    ("X-11", "k8s/base/pod-disruption-budget.yaml", "maxUnavailable: 1", "maxUnavailable: 0"),
    ("X-13", OVERLAY, "Hello, photographers!", "Hello, nobody!"),
    ("X-13", OVERLAY, "PAGE_SIZE=", "PAGES="),
    ("X-14", OVERLAY, "owner: web-team", "owner: other-team"),
    ("X-14", OVERLAY, "      env: prod\n", ""),
    ("X-15", DEPLOYMENT, "image: photo-service", "image: photo-service:v1"),
    ("X-15", "releases/prod/kustomization.yaml", "newTag: nothing-released-yet", "newTag: latest"),
    ("X-18", OVERLAY, "- ingress.yaml", "- ingres.yaml"),
    ("X-02", "services/photos/core.js", '"GET /ready"', '"GET /readyz"'),
    ("X-05", "services/photos/server.js", "DRAIN_MS = 45000", "DRAIN_MS = 200000"),
    ("X-06", INGRESS, "idle_timeout.timeout_seconds=60", "idle_timeout.timeout_seconds=65"),
    ("X-10", OVERLAY, "namespace: photo-service-prod", "namespace: photo-service-prd"),
    ("X-10", "k8s/release.sh", "namespace=photo-service-prod", "namespace=photo-service-dev"),
    ("X-13", PATCH, "/mnt/secrets/API_TOKEN", "/mnt/secret/API_TOKEN"),
    ("X-13", CLASS, "photo-service/api-token", "photo-service/other-token"),
    ("X-18", INGRESS, "name: http", "name: web"),
    ("X-18", DEPLOYMENT, "serviceAccountName: photo-service", "serviceAccountName: photos"),
    ("X-18", PATCH, "secretProviderClass: photo-service", "secretProviderClass: photos"),
    (
        "X-18",
        PATCH,
        "configMapRef:\n                name: photo-service",
        "configMapRef:\n                name: photos",
    ),
    ("syntax", INGRESS, "spec:\n", "spec: [\n"),
    ("conflict", "Makefile", "help:", "<<<<<<< yours\na\n=======\nb\n>>>>>>> new\nhelp:"),
    ("conflict", "README.md", "## Build", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> main\n## Build"),
]


@pytest.mark.parametrize(
    ("rule", "file", "old", "new"), BREAKS, ids=[f"{b[0]} {b[3]!r}" for b in BREAKS]
)
def test_a_broken_seam_is_found(project: Path, rule: str, file: str, old: str, new: str) -> None:
    """An edit that splits a value from its twins is found in its file, with a way out."""
    replace(project, file, old, new)

    code, report = run(project, "check", *OURS)

    found = [one for one in report["findings"] if one["file"] == file]
    assert {one["rule"] for one in found} == {rule}
    assert all(one["fix"] for one in found)
    assert code == 1


def test_a_finding_names_the_line(project: Path) -> None:
    """The line of a finding is the line that was edited."""
    replace(project, DEPLOYMENT, "containerPort: 3000", "containerPort: 8080")
    lines = (project / DEPLOYMENT).read_text().splitlines()

    _, report = run(project, "check", *OURS)

    assert "containerPort: 8080" in lines[report["findings"][0]["line"] - 1]
    assert report["findings"][0]["field"] == "http.port"


def test_an_edit_alone_is_no_finding(project: Path) -> None:
    """Edits are the user's right: comments, more labels and more files are not reported."""
    replace(project, "Dockerfile", "EXPOSE", "# Our own words.\nEXPOSE")
    replace(project, OVERLAY, "      env: prod\n", "      env: prod\n      team: blue\n")
    (project / "k8s/base/notes.txt").write_text("ours")
    (project / "services/photos/core.js").unlink()

    code, report = run(project, "check", *OURS)

    assert (code, report["findings"]) == (0, [])


def test_a_deleted_file_is_found(project: Path) -> None:
    """A generated file that is gone is named, and so is what refers to it."""
    (project / INGRESS).unlink()

    code, report = run(project, "check", *OURS)

    assert [(one["rule"], one["file"]) for one in report["findings"]] == [
        ("missing-file", INGRESS),
        ("X-18", OVERLAY),
    ]
    assert code == 1


def test_a_changed_spec_is_drift(project: Path) -> None:
    """After a change of the spec the artifacts are known to be old."""
    replace(project, "app.yaml", "max: 30", "max: 40")

    code, report = run(project, "check", *OURS)

    assert "drift" in {one["rule"] for one in report["findings"]}
    assert code == 1


def test_a_change_made_in_both_places_is_no_drift(project: Path) -> None:
    """A spec and its artifacts that were changed alike agree, whoever changed them."""
    replace(project, "app.yaml", "max: 30", "max: 40")
    hpa = "k8s/overlays/prod/horizontal-pod-autoscaler.yaml"
    replace(project, hpa, "maxReplicas: 30", "maxReplicas: 40")
    replace(project, "README.md", "3 to 30", "3 to 40")

    code, report = run(project, "check", *OURS)

    assert (code, report["findings"]) == (0, [])


def test_a_comment_in_the_spec_is_no_drift(project: Path) -> None:
    """A change of the spec that changes no artifact is nothing to report."""
    replace(project, "app.yaml", "gen: 1", "# a comment\ngen: 1")

    assert run(project, "check", *OURS)[0] == 0


def test_one_check_alone(project: Path) -> None:
    """--only runs what it names, and an unknown name is refused with the known ones."""
    _, report = run(project, "check", "--only", "X-01")
    code, refused = run(project, "check", "--only", "X-99")

    assert [one["rule"] for one in report["checks"]] == ["X-01"]
    assert (code, refused["problems"][0]["code"]) == (2, "unknown-check")


def test_below_the_project_folder(project: Path) -> None:
    """A check works from any folder of the project."""
    assert run(project / "k8s/base", "check", *OURS)[0] == 0


def test_a_missing_tool_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tool that is not there is named with how to get it, and ends the command under --strict."""
    monkeypatch.setenv("PATH", "/nowhere")

    code, report = run(project, "check")
    strict, refused = run(project, "check", "--strict")

    missing = {one["rule"]: one["note"] for one in report["checks"] if one["status"] == "missing"}
    assert set(missing) == {"hadolint", "kubeconform"}
    assert "not found; " in missing["hadolint"]
    assert code == 0
    assert (strict, refused["problems"][0]["code"]) == (3, "tool-missing")


@pytest.mark.parametrize(
    ("tool", "edit"),
    [
        ("hadolint", ("Dockerfile", "WORKDIR /app", "WORKDIR app")),
        ("kubeconform", (DEPLOYMENT, "periodSeconds: 10", "periodSecond: 10")),
        ("kubeconform", (OVERLAY, "kind: Kustomization", "kind: Kustomisation")),
    ],
)
def test_an_outside_tool_finds(
    project: Path, monkeypatch: pytest.MonkeyPatch, tool: str, edit: tuple[str, str, str]
) -> None:
    """What an outside tool reports becomes a finding of ours."""
    tools.need("kubectl")
    tools.need(tool)
    monkeypatch.setenv("PATH", tools.search_path())
    monkeypatch.setenv("GEN_KUBERNETES_SCHEMAS", str(tools.cache() / "schemas"))
    assert run(project, "check", "--only", tool)[0] == 0
    replace(project, *edit)

    code, report = run(project, "check", "--only", tool)

    assert report["findings"]
    assert code == 1


@pytest.mark.parametrize("name", PROJECTS)
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

    _, report = run(tmp_path / "out", "check", "--only", "hadolint", "--only", "kubeconform")

    assert report["findings"] == []
    assert {one["status"] for one in report["checks"]} == {"passed"}


def test_not_a_project(tmp_path: Path) -> None:
    """Outside a project the command says so and how to make one."""
    with contextlib.suppress(GenError):
        code, report = run(tmp_path, "check")

    assert (code, report["problems"][0]["code"]) == (2, "not-a-project")
