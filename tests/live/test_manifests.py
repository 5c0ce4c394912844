"""The manifests against a control plane: accepted whole, changed no more than needed, drained with
care."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden import CASES
from tests.live.cluster import Cluster
from tests.live.containers import wait_until
from tests.live.releases import App, new_app

# The journeys set out here: they wait most of their time.
pytestmark = pytest.mark.usefixtures("journeys")

_OVERLAYS = sorted(CASES.glob("new-*/out/k8s/overlays/*"))
_SPEC = """\
gen: 1
name: {name}
targets: container
config: {{GREETING: Hello}}
traffic: {{certificate_arn: "arn:aws:acm:us-east-2:123456789012:certificate/1"}}
environments:
  prod:
"""
_NASTY = "€ $HOME `id` {{ x }} $(id) \\ ' \" # : - "
_CONFIG = {"LONG": _NASTY * 600, "LINES": "a\n\n b\t", "EMPTY": "", "QUOTED": '"quoted"'}
# Each at its limit: names as long as they may be, labels and annotations from the longest texts.
_LIMITS = f"""\
gen: 1
name: n{"a" * 23}
owner: {json.dumps((_NASTY * 3)[:100].strip())}
description: {json.dumps((_NASTY * 9)[:300].strip())}
targets: container
config: {json.dumps(_CONFIG)}
secrets: {{{"S" * 60}: {{aws_secret: {"a/" * 200}b}}}}
health: {{live: /{"l" * 99}, ready: /{"r" * 99}}}
rollout: {{strategy: canary}}
environments: {{e{"0" * 11}: }}
"""


@pytest.mark.parametrize("overlay", _OVERLAYS, ids=lambda path: f"{path.parts[-5]}-{path.name}")
def test_every_golden_is_accepted(cluster: Cluster, overlay: Path) -> None:
    """On the server's side, in a namespace that takes restricted pods only: all of it, pods
    included; and a second time nothing changes."""
    _assert_accepted(cluster, overlay)


def test_names_and_texts_at_their_limits(cluster: Cluster, tmp_path: Path) -> None:
    """The longest that a spec may say makes what the API accepts, and config arrives as it was."""
    (overlay,) = (new_app(cluster, tmp_path / "app", _LIMITS).project / "k8s/overlays").iterdir()
    namespace = _assert_accepted(cluster, overlay)

    configs = cluster.get(f"--namespace={namespace}", "configmaps")["items"]
    ours = [one for one in configs if one["metadata"]["name"] != "kube-root-ca.crt"]
    assert [one["data"] for one in ours] == [_CONFIG]


def test_a_cluster_is_prepared(cluster: Cluster, tmp_path: Path) -> None:
    """What lets network policies take effect is there, and a second time nothing changes."""
    app = new_app(cluster, tmp_path / "app", _SPEC.format(name="prepared"))

    done, again = (app.make("prepare-cluster", ENV="prod") for _ in "12")

    assert done.returncode == again.returncode == 0, done.stderr
    assert "unchanged" in again.stdout
    found = cluster.get("--namespace=kube-system", "configmap", "amazon-vpc-cni")
    assert found["data"] == {"enable-network-policy-controller": "true"}


def _assert_accepted(cluster: Cluster, overlay: Path) -> str:
    """Apply an overlay twice; return its namespace."""
    apply = ("apply", "--server-side", "--field-manager=gen")
    cluster.kubectl(*apply, f"--filename={overlay}/namespace.yaml")
    cluster.kubectl(*apply, f"--kustomize={overlay}")
    before = _applied(cluster, overlay)
    cluster.kubectl(*apply, f"--kustomize={overlay}")

    assert len(before) >= 10
    assert _applied(cluster, overlay) == before
    namespace = cluster.get(f"--filename={overlay}/namespace.yaml")
    name: str = namespace["metadata"]["name"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    wait_until(lambda: bool(cluster.get(f"--namespace={name}", "pods")["items"]), "pods")
    return name


def _applied(cluster: Cluster, overlay: Path) -> dict[str, Any]:
    """Each object: when and what we last wrote of it. (Others write too, such as the autoscaler.)"""
    found = cluster.get(f"--kustomize={overlay}", "--show-managed-fields")["items"]
    return {
        f"{one['kind']} {one['metadata']['name']}": [
            each for each in one["metadata"]["managedFields"] if each["manager"] == "gen"
        ]
        for one in found
    }


@pytest.fixture(scope="module")
def applied(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> App:
    """A project that is in the cluster."""
    app = new_app(cluster, tmp_path_factory.mktemp("applied") / "app", _SPEC.format(name="change"))
    _apply(app)
    return app


def _apply(app: App, environment: str = "prod") -> None:
    overlay = app.project / "k8s/overlays" / environment
    app.cluster.kubectl("apply", f"--filename={overlay}/namespace.yaml")
    app.cluster.kubectl("apply", f"--kustomize={overlay}")


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        pytest.param("", "", set(), id="nothing"),
        pytest.param("config:", "http: {port: 3000}\nconfig:", {"Deployment"}, id="port"),
        pytest.param("Hello", "Good morning", {"ConfigMap", "Deployment"}, id="config"),
        pytest.param("prod:", "prod: {scale: {max: 20}}", {"HorizontalPodAutoscaler"}, id="scale"),
        pytest.param(
            "prod:", "prod: {traffic: {hosts: {container: a.example.com}}}", {"Ingress"}, id="host"
        ),
        pytest.param(
            "config:", "health: {drain: 40s}\nconfig:", {"Deployment", "Ingress"}, id="drain"
        ),
        pytest.param("config:", "resources: {cpu: 1}\nconfig:", {"Deployment"}, id="cpu"),
    ],
)
def test_a_change_of_the_spec_changes_only_what_it_should(
    applied: App, tmp_path: Path, old: str, new: str, changes: set[str]
) -> None:
    """The artifacts of a changed spec, applied over those of before."""
    spec = _SPEC.format(name="change").replace(old, new, 1)
    changed = _would_be(new_app(applied.cluster, tmp_path / "app", spec))
    before = _would_be(applied)

    found = {name.split()[0] for name in changed if changed[name] != before.get(name)}
    assert found == changes


def _would_be(app: App) -> dict[str, Any]:
    """What the server would make of each object. (The status and our own notes are left out.)"""
    whole = f"--kustomize={app.project}/k8s/overlays/prod"
    text = app.cluster.kubectl("apply", "--dry-run=server", "--output=json", whole)
    objects: dict[str, Any] = {}
    for one in json.loads(text)["items"]:
        annotations = {**one["metadata"].get("annotations", {})}
        annotations.pop("kubectl.kubernetes.io/last-applied-configuration")
        wanted = {key: value for key, value in one.items() if key not in ("metadata", "status")}
        if one["kind"] == "Deployment":
            del one["spec"]["replicas"]  # the autoscaler's
        labels = one["metadata"]["labels"]
        objects[f"{one['kind']} {one['metadata']['name']}"] = [wanted, labels, annotations]
    return objects
