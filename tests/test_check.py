"""`gen check`: no finding on what gen makes, and one for each seam that somebody breaks by hand."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from generator.check.artifacts import read_manifests
from generator.check.registry import CHECKS, TOOLS
from generator.cli import main
from generator.problems import GenError
from generator.project.check import look_at
from generator.tree import File, FileTree
from tests.golden import CASES

OURS = tuple(word for tool in TOOLS for word in ("--skip", tool.rule))
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
POLICY = "k8s/base/network-policy.yaml"
BUDGET = "k8s/base/pod-disruption-budget.yaml"
SCALER = "k8s/overlays/prod/horizontal-pod-autoscaler.yaml"
RELEASE = "releases/prod/kustomization.yaml"
CLASS = "k8s/overlays/prod/secrets/secret-provider-class.yaml"
BREAKS = [
    ("X-01", "Dockerfile", "EXPOSE 3000", "EXPOSE 8080"),
    ("X-01", "Dockerfile", "PORT=3000", "PORT=8080"),
    ("X-01", DEPLOYMENT, "containerPort: 3000", "containerPort: 8080"),
    ("X-01", DEPLOYMENT, 'value: "3000"', 'value: "8080"'),
    ("X-01", DEPLOYMENT, "port: http", "port: 8080"),
    ("X-01", "k8s/base/service.yaml", "targetPort: http", "targetPort: 8080"),
    ("X-01", POLICY, "port: http", "port: 8080"),
    ("X-01", POLICY, "port: http", "port: web"),
    (
        "X-01",
        POLICY,
        "- ports:\n        - protocol: TCP\n          port: http\n",
        "- {}\n",
    ),
    ("X-01", "k8s/base/service.yaml", "targetPort: http", "targetPort: web"),
    ("X-01", "Makefile", "PORT=3000", "PORT=8080"),
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
    ("X-18", OVERLAY, "  - horizontal-pod-autoscaler.yaml\n", ""),
    ("X-18", OVERLAY, "  - ingress.yaml\n", ""),
    ("X-18", OVERLAY, "  - path: deployment-patch.yaml\n", "  []\n"),
    ("X-18", "k8s/base/kustomization.yaml", "  - service.yaml\n", ""),
    ("release", "k8s/release.sh", "account=123456789012", "account="),
    ("release", "k8s/release.sh", "bake_s=120", "bake_s=0"),
    ("balancer", INGRESS, "scheme: internet-facing", "scheme: internal"),
    ("balancer", INGRESS, "certificate-arn: >-", "certificate-arm: >-"),
    ("balancer", INGRESS, "    - host: photos.example.com", "    - host: photo.example.com"),
    ("X-02", INGRESS, "path: /alive/", "path: /alive2/"),
    (
        "X-07",
        INGRESS,
        "deregistration_delay.timeout_seconds=45",
        "deregistration_delay.timeout_seconds=10",
    ),
    ("syntax", INGRESS, "spec:\n", "spec: [\n"),
    ("conflict", "Makefile", "help:", "<<<<<<< yours\na\n=======\nb\n>>>>>>> new\nhelp:"),
    ("conflict", "README.md", "## Build", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> main\n## Build"),
]


# What is taken away or loosened, rather than changed: no value is left that could be compared.
LOOSENED = [
    (
        "X-02",
        DEPLOYMENT,
        "port: http\n            periodSeconds: 10",
        "port: http\n              scheme: HTTPS",
    ),
    (
        "X-02",
        DEPLOYMENT,
        "livenessProbe:\n            httpGet:\n              path: /alive",
        "livenessProbe:\n            httpGet:\n              path: /ready",
    ),
    ("X-02", DEPLOYMENT, "readinessProbe:", "unusedProbe:"),
    ("X-02", DEPLOYMENT, "livenessProbe:", "unusedProbe:"),
    ("X-02", DEPLOYMENT, "startupProbe:", "unusedProbe:"),
    (
        "X-02",
        DEPLOYMENT,
        "readinessProbe:\n            httpGet:\n              path: /ready\n              port: http",
        "readinessProbe:\n            tcpSocket:\n              port: http",
    ),
    ("X-02", INGRESS, "    alb.ingress.kubernetes.io/healthcheck-path: /ready\n", ""),
    (
        "X-02",
        INGRESS,
        "healthcheck-path: /ready",
        "healthcheck-path: /ready\n    alb.ingress.kubernetes.io/backend-protocol: HTTPS",
    ),
    ("X-03", "Dockerfile", "FROM ${BASE_IMAGE} AS runtime", "FROM node:22-slim AS runtime"),
    ("X-04", "Dockerfile", "USER 10001:10001\n", ""),
    ("X-04", "Dockerfile", "USER 10001:10001", "USER node"),
    ("X-04", "Dockerfile", "USER 10001:10001", "USER 20001:10001"),
    ("X-04", DEPLOYMENT, "        runAsUser: 10001\n", ""),
    ("X-05", DEPLOYMENT, "seconds: 15", "seconds: 2"),
    ("X-05", DEPLOYMENT, "seconds: 15", "seconds: 25"),
    ("X-05", DEPLOYMENT, "preStop:", "postStart:"),
    ("X-05", DEPLOYMENT, "      terminationGracePeriodSeconds: 65\n", ""),
    ("X-07", INGRESS, "deregistration_delay.timeout_seconds=45,", ""),
    ("X-11", SCALER, "  minReplicas: 3\n", ""),
    ("X-11", SCALER, "averageUtilization: 70", "averageUtilization: 95"),
    ("X-11", BUDGET, "maxUnavailable: 1", "minAvailable: 1"),
    ("X-11", BUDGET, "maxUnavailable: 1", "minAvailable: 60%"),
    ("X-11", PATCH, "maxUnavailable: 0", "maxUnavailable: 100%"),
    (
        "X-11",
        PATCH,
        "type: RollingUpdate\n    rollingUpdate:\n      maxSurge: 25%\n      maxUnavailable: 0",
        "type: Recreate",
    ),
    ("X-11", PATCH, "maxSurge: 25%\n      maxUnavailable: 0", "maxSurge: 25%"),
    ("X-13", PATCH, "envFrom:", "unused:"),
    ("X-13", PATCH, "- name: API_TOKEN_FILE", "- name: API_TOKEN_PATH"),
    ("X-13", PATCH, "- name: NODE_OPTIONS", "- name: LOG_LEVEL"),
    ("X-13", PATCH, "- name: NODE_OPTIONS", "- name: API_TOKEN"),
    ("X-13", "Dockerfile", "ENV NODE_ENV=production", "ENV API_TOKEN=x NODE_ENV=production"),
    ("X-13", "Makefile", "\t  LOG_LEVEL=info \\\n", ""),
    ("X-13", "Makefile", "PAGE_SIZE=50", "PAGE_SIZE=5"),
    ("X-14", INGRESS, "owner=web-team,", ""),
    ("X-14", INGRESS, "env=prod", "env=dev"),
    ("X-14", INGRESS, "managed-by=gen", "managed-by=hand"),
    ("X-14", OVERLAY, "    includeTemplates: true\n", ""),
    ("X-15", RELEASE, "newName: 123456789012.dkr.ecr", "newName: 999999999999.dkr.ecr"),
    ("X-15", RELEASE, "- name: photo-service", "- name: photos"),
    ("X-15", RELEASE, "    newTag: nothing-released-yet\n", ""),
    ("X-15", OVERLAY, "  - ../../../releases/prod\n", "  []\n"),
    (
        "X-18",
        "k8s/base/service.yaml",
        "selector:\n    app.kubernetes.io/name: photo-service",
        "selector:\n    app.kubernetes.io/name: photos",
    ),
    (
        "X-18",
        "k8s/base/service.yaml",
        "  selector:\n    app.kubernetes.io/name: photo-service\n",
        "",
    ),
    ("X-18", BUDGET, "app.kubernetes.io/name: photo-service", "app.kubernetes.io/name: photos"),
    ("X-18", POLICY, "app.kubernetes.io/name: photo-service", "app.kubernetes.io/name: photos"),
    ("X-18", BUDGET, "  name: photo-service", "  name: photos"),
    ("X-18", POLICY, "  name: photo-service", "  name: photos"),
    ("default-deny", POLICY, "podSelector: {}", "podSelector: {matchLabels: {app: x}}"),
    ("default-deny", POLICY, "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]"),
    ("default-deny", POLICY, "podSelector: {}", "podSelector: {}\n  egress: [{}]"),
    ("resources", PATCH, 'cpu: "500m"', "cpu: 100m"),
    ("resources", PATCH, '              memory: "512Mi"\n', ""),
    ("resources", PATCH, "limits:", "unused:"),
    ("resources", PATCH, 'cpu: "1"', "cpu: 400m"),
    ("pod-security", DEPLOYMENT, "        runAsNonRoot: true\n", ""),
    (
        "pod-security",
        DEPLOYMENT,
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: false\n            runAsNonRoot: false",
    ),
    ("pod-security", DEPLOYMENT, "type: RuntimeDefault", "type: Unconfined"),
    ("pod-security", DEPLOYMENT, "            allowPrivilegeEscalation: false\n", ""),
    ("pod-security", DEPLOYMENT, "privileged: false", "privileged: true"),
    ("pod-security", DEPLOYMENT, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
    ("pod-security", DEPLOYMENT, "drop: [ALL]", "drop: [NET_RAW]"),
    ("pod-security", DEPLOYMENT, "drop: [ALL]", "drop: [ALL]\n              add: [NET_ADMIN]"),
    ("pod-security", DEPLOYMENT, "      automountServiceAccountToken: false\n", ""),
    ("pod-security", DEPLOYMENT, "enableServiceLinks: false", "hostNetwork: true"),
    (
        "pod-security",
        DEPLOYMENT,
        "containerPort: 3000",
        "containerPort: 3000\n              hostPort: 3000",
    ),
    (
        "pod-security",
        DEPLOYMENT,
        "emptyDir:\n            sizeLimit: 64Mi",
        "hostPath:\n            path: /tmp",
    ),
    (
        "pod-security",
        PATCH,
        "envFrom:",
        "securityContext: {readOnlyRootFilesystem: false}\n          envFrom:",
    ),
    (
        "pod-security",
        "k8s/overlays/prod/namespace.yaml",
        "enforce: restricted",
        "enforce: baseline",
    ),
]
BREAKS += LOOSENED


COLORS = "k8s/overlays/prod/colors/services.yaml"


@pytest.mark.parametrize(
    ("rule", "file", "old", "new"),
    [
        (
            "X-18",
            INGRESS,
            '"serviceName": "photo-service-green"',
            '"serviceName": "photo-service-red"',
        ),
        ("X-18", COLORS, "color: green", "color: red"),
        ("X-18", COLORS, "name: photo-service-green", "name: photo-service-red"),
        ("X-01", COLORS, "targetPort: http", "targetPort: 8080"),
        ("pod-security", DEPLOYMENT, "runAsNonRoot: true", "runAsNonRoot: false"),
    ],
)
def test_two_sets_of_pods(tmp_path: Path, rule: str, file: str, old: str, new: str) -> None:
    """Where two sets of pods take turns, both are looked at, and their color is no finding."""
    spec = ["--spec", str(CASES / "new-full/app.yaml"), "--set", "rollout.strategy=blue_green"]
    run(tmp_path, "new", *spec, "--dir", "project")
    project = tmp_path / "project"
    assert run(project, "check", *OURS)[1]["findings"] == []
    replace(project, file, old, new)

    code, report = run(project, "check", *OURS)

    assert rule in {one["rule"] for one in report["findings"] if one["file"] == file}
    assert code == 1


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


ROOT = "tofu/live/prod/asg/main.tf"
_SEAMS_OF_VMS = [
    ("X-01", ROOT, "port         = 9000", "port         = 9001"),
    ("X-01", ROOT, "port                       = 9000", "port                       = 8080"),
    ("X-02", ROOT, '"/health/ready"\n', '"/healthz"\n'),
    ("X-02", ROOT, '"/health/live", ', ""),
    ("X-06", ROOT, "idle_timeout_s    = 95", "idle_timeout_s    = 101"),
    ("X-07", ROOT, "drain_s           = 120", "drain_s           = 121"),
    ("X-07", ROOT, "  drain_s     = 120", "  drain_s     = 90"),
    ("X-08", ROOT, "start_s     = 120", "start_s     = 30"),
    ("X-10", ROOT, 'name          = "ledger-prod-vm"', 'name          = "ledger-stage-vm"'),
    ("X-10", ROOT, 'region = "eu-central-1"', 'region = "eu-west-1"'),
    ("X-10", ROOT, '  allowed_account_ids = ["123456789012"]\n', ""),
    ("X-11", ROOT, "min_size    = 4", "min_size    = 3"),
    ("X-11", ROOT, "cpu_percent = 45", "cpu_percent = 50"),
    ("X-12", ROOT, 'instance_type = "t4g.small"', 'instance_type = "t3.small"'),
    ("X-13", "tofu/live/prod/asg/config.env", "GREETING=", "GREETINGS="),
    ("X-13", "tofu/live/prod/asg/config.env", 'LINES="a', 'LINES="b'),
    ("X-13", "tofu/live/prod/asg/secrets", "ledger/api-token", "ledger/token"),
    ("X-14", ROOT, 'approach   = "vm"', 'approach   = "server"'),
    ("X-18", "tofu/live/prod/asg/outputs.tf", "alarm_names", "alarms"),
    ("balancer", ROOT, '  host = "ledger.example.com"\n', ""),
    ("balancer", ROOT, "rate_limit_per_5min = 30000", "rate_limit_per_5min = 300"),
    ("balancer", "tofu/live/stage/asg/main.tf", "internal   = true", "internal   = false"),
    ("syntax", ROOT, 'module "asg" {', 'module "asg" {{'),
]


EKS = "tofu/live/stage/eks/main.tf"
_SEAMS_OF_CLUSTERS = [
    (
        "X-10",
        EKS,
        'name               = "ledger-stage-eks"',
        'name               = "ledger-prod-eks"',
    ),
    ("X-10", EKS, 'namespace     = "ledger-stage"', 'namespace     = "ledger"'),
    ("X-10", EKS, '  allowed_account_ids = ["123456789012"]\n', ""),
    ("X-12", EKS, 'kubernetes_version = "1.36"', 'kubernetes_version = "1.35"'),
    ("X-12", EKS, '  nodes          = "managed"\n', ""),
    ("X-12", EKS, '["m7i.large"]', '["t3.micro"]'),
    ("X-13", EKS, 'service_account = "ledger"', 'service_account = "ledgers"'),
    ("X-14", EKS, 'approach   = "container"', 'approach   = "vm"'),
    ("X-17", EKS, "desired_size   = 3", "desired_size   = 2"),
    ("X-17", EKS, "pods_needed    = 8", "pods_needed    = 0"),
    ("access", EKS, '["203.0.113.0/24"]', '["203.0.113.0/24", "198.51.100.0/24"]'),
    ("syntax", EKS, 'module "eks" {', 'module "eks" {{'),
]


@pytest.fixture(scope="session")
def with_stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Projects with stacks of OpenTofu, by their golden, to be copied."""
    folder = tmp_path_factory.mktemp("stacks")
    for name in ("new-vm", "new-colors"):
        code, _ = run(folder, "new", "--spec", str(CASES / name / "app.yaml"), "--dir", name)
        assert code == 0
    return {name: folder / name for name in ("new-vm", "new-colors")}


@pytest.mark.parametrize(
    ("golden", "seam"),
    [
        *(("new-vm", seam) for seam in _SEAMS_OF_VMS),
        *(("new-colors", seam) for seam in _SEAMS_OF_CLUSTERS),
    ],
)
def test_a_broken_seam_of_stacks_is_found(
    with_stacks: dict[str, Path], tmp_path: Path, golden: str, seam: tuple[str, str, str, str]
) -> None:
    """One finding, in that file, on that line."""
    rule, file, old, new = seam
    project = Path(shutil.copytree(with_stacks[golden], tmp_path / "project"))
    line = (project / file).read_text().split(old)[0].count("\n") + 1
    replace(project, file, old, new)

    code, report = run(project, "check", *OURS)

    assert {(one["rule"], one["file"]) for one in report["findings"]} == {(rule, file)}
    assert code == 1
    if new and rule not in ("X-13", "X-14", "X-18", "syntax"):
        assert [one["line"] for one in report["findings"]] == [line]


def test_a_rollout_that_takes_all_copies_away(project: Path) -> None:
    """Recreate is said as what it is, whatever numbers the spec has for a rolling one."""
    replace(project, PATCH, "type: RollingUpdate", "type: Recreate")

    _, report = run(project, "check", *OURS)

    (found,) = report["findings"]
    assert "takes all copies away" in found["message"]


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


# Another container, Deployment, Service, policy: whatever somebody adds is not what gen promised.
_SIDECAR = """\
        - name: proxy
          image: envoy:v1
          ports: [{name: admin, containerPort: 9901}]
          securityContext: {runAsUser: 10500}
          env: [{name: PORT, value: "9901"}]
      containers_end: []
"""
_OWN = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache}
spec:
  replicas: 1
  template: {spec: {containers: [{name: cache, image: "redis:8", ports: [{containerPort: 6379}]}]}}
---
apiVersion: v1
kind: Service
metadata: {name: cache}
spec: {selector: {app: cache}, ports: [{port: 6379, targetPort: 6379}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cache}
spec: {podSelector: {matchLabels: {app: cache}}, ingress: [{ports: [{port: 6379}]}]}
"""


def test_additions_are_no_finding(project: Path) -> None:
    """Containers and objects that somebody put beside the app are theirs, and so are their ports."""
    replace(
        project,
        DEPLOYMENT,
        "      volumes:\n",
        _SIDECAR.replace("      containers_end: []\n", "") + "      volumes:\n",
    )
    replace(
        project,
        "k8s/base/service.yaml",
        "  ports:\n",
        "  ports:\n    - {name: admin, port: 81, targetPort: 9901}\n",
    )
    replace(project, "k8s/base/kustomization.yaml", "resources:\n", "resources:\n  - cache.yaml\n")
    (project / "k8s/base/cache.yaml").write_text(_OWN)

    code, report = run(project, "check", *OURS)

    assert (code, report["findings"]) == (0, [])


def test_the_same_in_other_words_is_no_finding(project: Path) -> None:
    """Ports by name or number, quantities in another unit, users that changed everywhere alike."""
    replace(project, POLICY, "port: http", "port: 3000")
    replace(project, "k8s/base/service.yaml", "targetPort: http", "targetPort: 3000")
    replace(project, PATCH, 'cpu: "500m"', "cpu: 0.5")
    replace(project, PATCH, 'memory: "512Mi"', "memory: 524288Ki")
    for file in ("Dockerfile", DEPLOYMENT):
        path = project / file
        path.write_text(path.read_text().replace("10001", "20001"))

    code, report = run(project, "check", *OURS)

    assert (code, report["findings"]) == (0, [])


def test_a_budget_is_measured_by_its_environment(project: Path) -> None:
    """A budget of prod alone is compared with the floor of prod, not with the lowest there is."""
    budget = (project / BUDGET).read_text().replace("maxUnavailable: 1", "minAvailable: 2")
    (project / "k8s/overlays/prod/budget.yaml").write_text(budget)
    replace(project, OVERLAY, "resources:\n", "resources:\n  - budget.yaml\n")

    assert run(project, "check", *OURS)[1]["findings"] == []
    replace(project, "k8s/overlays/prod/budget.yaml", "minAvailable: 2", "minAvailable: 3")
    _, report = run(project, "check", *OURS)

    assert [(one["rule"], one["file"]) for one in report["findings"]] == [
        ("X-11", "k8s/overlays/prod/budget.yaml")
    ]


JUNK = ("[]", "{}", "null", "-1", "!odd {a: [b]}", "2026-13-45", "&a [*a]", "[[x]]")


def test_junk_in_a_manifest_is_no_crash(made: Path) -> None:
    """Whatever a value of a manifest is replaced by, the checks end, with findings or without."""
    subject, _ = look_at(made, dt.date(2026, 11, 24))
    # What the spec makes is no junk; reading it again for each line would take all the time.
    subject = subject._replace(wanted=FileTree({}))
    places = [
        (path, at, line)
        for path in subject.files
        if path.startswith(("k8s/base/", "k8s/overlays/prod/", "releases/prod/"))
        for at, line in enumerate(subject.files.text(path).splitlines())
        if re.search(r"^[^#]*(: |- |:$)", line)
    ]
    for turn, (path, at, line) in enumerate(places[::3]):
        lines = subject.files.text(path).splitlines()
        lines[at] = re.sub(r"(: |- |:$).*", r"\1 ", line, count=1) + JUNK[turn % len(JUNK)]
        manifests, unreadable = read_manifests(FileTree({path: File("\n".join(lines).encode())}))
        others = [one for one in subject.manifests if one.file != path]
        changed = subject._replace(manifests=(*others, *manifests), unreadable=unreadable)
        for check in CHECKS:
            list(check.run(changed))
    assert len(places) > 100


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
    spec = str(project / "app.yaml")
    run(project.parent, "new", "--spec", spec, "--dir", "fresh")
    for readme in ("README.md", "k8s/README.md"):
        shutil.copy(project.parent / "fresh" / readme, project / readme)

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

    assert {one["rule"] for one in report["checks"]} == {"X-01"}
    assert (code, refused["problems"][0]["code"]) == (2, "unknown-check")


def test_below_the_project_folder(project: Path) -> None:
    """A check works from any folder of the project."""
    assert run(project / "k8s/base", "check", *OURS)[0] == 0


def test_not_a_project(tmp_path: Path) -> None:
    """Outside a project the command says so and how to make one."""
    with contextlib.suppress(GenError):
        code, report = run(tmp_path, "check")

    assert (code, report["problems"][0]["code"]) == (2, "not-a-project")


def test_a_new_environment_is_drift_and_nothing_else(project: Path) -> None:
    """What it lacks is said once: nothing is asked of an overlay that is not there yet."""
    replace(project, "app.yaml", "environments:", "environments:\n  qa: {scale: {min: 1}}")

    code, report = run(project, "check", *OURS)

    assert {one["rule"] for one in report["findings"]} == {"drift"}
    assert "k8s/overlays/qa/" in report["findings"][0]["message"]
    assert code == 1


def test_the_generated_app_drifts_until_it_is_touched(project: Path) -> None:
    """A route of the spec that the app does not have is told, as long as the app is gen's."""
    replace(project, "app.yaml", "GET /photos/latest", "GET /photos/newest")

    _, report = run(project, "check", *OURS)
    (project / "services/photos/core.js").write_text("// ours now\n")
    _, touched = run(project, "check", *OURS, "--skip", "X-02")

    assert "services/photos/core.js" in report["findings"][0]["message"]
    assert touched["findings"] == []
