"""Journeys: a project in a cluster that lives through one release after the other.

They wait most of their time, so all go side by side, and beside other tests; `test_rollout` looks at
what they saw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from tests import tools
from tests.live.cluster import Cluster
from tests.live.containers import wait_until
from tests.live.releases import ACCOUNT, App, asking, new_app, ready_addresses, watching

_SPEC = f"""\
gen: 1
name: {{name}}
account: "{ACCOUNT}"
targets: container
config: {{{{GREETING: Hello}}}}
secrets: {{{{API_TOKEN: {{{{aws_secret: shop/api-token}}}}}}}}
rollout: {{{{strategy: {{strategy}}, bake: 6s}}}}
container: {{{{cluster: local}}}}
environments:
  stage: {{{{scale: {{{{min: 1}}}}, rollout: {{{{strategy: rolling, bake: 0s}}}}}}}}
  prod: {{{{scale: {{{{min: 3}}}}}}}}
"""
FLOOR = 3

Done = CompletedProcess[str]


@dataclass
class Rolling:
    """What the journey of the rolling strategy saw."""

    app: App
    done: dict[str, Done] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    answers: dict[str, list[str]] = field(default_factory=dict)
    ready: list[int] = field(default_factory=list)
    pods: list[int] = field(default_factory=list)
    templates: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


def _rolling(cluster: Cluster, folder: Path) -> Rolling:
    app = new_app(cluster, folder, _SPEC.format(name="roll", strategy="rolling"))
    seen = Rolling(app)
    app.push("v1", "v2", "v3-broken")

    def step(name: str, goal: str, **variables: str) -> None:
        seen.done[name] = app.make(goal, **variables)
        seen.records[name] = app.record(variables["ENV"])

    patch = "k8s/overlays/prod/deployment-patch.yaml"
    gone = "            - name: ONLY_IN_V1\n              value: here\n"
    app.edit(patch, r"(          env:\n)", rf"\1{gone}")
    step("stage", "deploy-container", ENV="stage", VERSION="v1")
    step("promote", "promote-container", ENV="prod", FROM="stage")
    seen.facts["zones"] = _zones(app)
    seen.facts["spare"] = app.get("prod", "poddisruptionbudget", "roll")["status"]
    app.edit(patch, gone, "")
    slices = ("endpointslices", "--selector=kubernetes.io/service-name=roll")
    with watching(app, "prod", *slices) as endpoints, watching(app, "prod", "replicasets") as sets:
        step("v2", "deploy-container", ENV="prod", VERSION="v2")
    seen.ready = endpoints.totals(ready_addresses)
    seen.pods = sets.totals(_wanted)
    seen.templates["v2"] = _template(app)
    seen.facts["before"] = _objects(app)
    app.kubectl("prod", "apply", "--kustomize", str(app.project / "k8s/overlays/prod"))
    seen.facts["applied again"] = _objects(app)
    with asking(app, "prod") as answers:
        step("broken", "deploy-container", ENV="prod", VERSION="v3-broken")
    seen.answers["broken"] = answers
    seen.templates["after broken"] = _template(app)
    seen.facts["stage"] = app.answer("stage")
    step("rollback", "rollback-container", ENV="prod")
    seen.answers["rollback"] = [app.answer("prod")]
    step("v2 again", "deploy-container", ENV="prod", VERSION="v2")
    seen.templates["v2 again"] = _template(app)
    step("back to v1", "rollback-container", ENV="prod", TO="v1")
    step("nowhere", "rollback-container", ENV="prod", TO="v9")
    return seen


def _zones(app: App) -> list[str]:
    nodes = {
        node["metadata"]["name"]: node["metadata"]["labels"]["topology.kubernetes.io/zone"]
        for node in app.cluster.get("nodes")["items"]
    }
    return sorted(nodes[pod["spec"]["nodeName"]] for pod in app.get("prod", "pods")["items"])


def _wanted(replica_set: dict[str, Any]) -> int:
    """How many pods a ReplicaSet wants."""
    wanted: int = replica_set["spec"]["replicas"]
    return wanted


def _objects(app: App) -> dict[str, Any]:
    """What is wanted of each object of an overlay, and how often that has changed."""
    whole = str(app.project / "k8s/overlays/prod")
    return {
        f"{one['kind']} {one['metadata']['name']}": {
            **{key: value for key, value in one.items() if key not in ("metadata", "status")},
            **{key: one["metadata"].get(key) for key in ("labels", "annotations")},
        }
        for one in app.get("prod", f"--kustomize={whole}")["items"]
    }


def _template(app: App, name: str = "") -> Any:
    return app.get("prod", "deployment", name or app.name)["spec"]["template"]


@dataclass
class Colors:
    """What the journey of a strategy with two sets of pods saw."""

    app: App
    done: dict[str, Done] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    serving: dict[str, dict[str, Any]] = field(default_factory=dict)
    weights: dict[str, list[dict[str, int]]] = field(default_factory=dict)
    ready: list[int] = field(default_factory=list)
    answers: dict[str, list[str]] = field(default_factory=dict)

    def step(self, name: str, goal: str, **variables: str) -> None:
        app = self.app
        with watching(app, "prod", "ingress", app.name) as ingress:
            self.done[name] = app.make(goal, ENV="prod", **variables)
        self.look(name)
        self.weights[name] = ingress.weights()

    def look(self, name: str) -> None:
        """What serves now."""
        app = self.app
        self.records[name] = app.record("prod")
        selector = app.get("prod", "service", app.name)["spec"]["selector"]
        deployments = app.get("prod", "deployments")["items"]
        self.serving[name] = {
            "color": selector.get("color"),
            "answer": app.answer("prod"),
            "copies": {one["metadata"]["name"]: one["spec"]["replicas"] for one in deployments},
        }


def _blue_green(cluster: Cluster, folder: Path) -> Colors:
    app = new_app(cluster, folder, _SPEC.format(name="twins", strategy="blue_green"))
    app.push("v1", "v2", "v3-broken")
    seen = Colors(app)
    slices = ("endpointslices", "--selector=kubernetes.io/service-name=twins")
    app.make("deploy-container", ENV="prod", VERSION="v1")
    with watching(app, "prod", *slices) as endpoints:
        seen.step("v2", "deploy-container", VERSION="v2")
    seen.ready = endpoints.totals(ready_addresses)
    with asking(app, "prod") as answers:
        seen.step("broken", "deploy-container", VERSION="v3-broken")
    seen.answers["broken"] = answers
    seen.step("rollback", "rollback-container")
    seen.step("and back", "rollback-container", TO="v2")
    seen.step("too far", "rollback-container", TO="v0")
    _change_strategy(app, "blue_green", "rolling")
    seen.step("rolling", "deploy-container", VERSION="v1")
    return seen


def _canary(cluster: Cluster, folder: Path) -> Colors:
    """It begins as a rolling one: a strategy is changed some day."""
    app = new_app(cluster, folder, _SPEC.format(name="bird", strategy="rolling"))
    app.push("v1", "v2", "v3-unwell")
    seen = Colors(app)
    seen.step("v1", "deploy-container", VERSION="v1")
    _change_strategy(app, "rolling", "canary")
    seen.step("change", "deploy-container", VERSION="v2")
    seen.step("v1 again", "deploy-container", VERSION="v1")
    with asking(app, "prod") as answers:
        seen.step("unwell", "deploy-container", VERSION="v3-unwell")
    seen.answers["unwell"] = answers
    return seen


def _accidents(cluster: Cluster, folder: Path) -> Colors:
    """A release that is interrupted, one whose clean-up fails, and one that nobody takes back."""
    app = new_app(cluster, folder, _SPEC.format(name="mishap", strategy="canary"))
    app.push("v1", "v2", "v3-unwell")
    seen = Colors(app)
    seen.step("v1", "deploy-container", VERSION="v1")
    with watching(app, "prod", "ingress", app.name) as ingress:
        release = app.begin("deploy", "prod", "v2")
        share = {"mishap-blue": 90, "mishap-green": 10}
        wait_until(lambda: share in ingress.weights(), "a share for the canary", seconds=120)
        seen.done["meanwhile"] = app.make("rollback-container", ENV="prod")
        seen.done["interrupted"] = app.interrupt(release)
    seen.records["interrupted"] = app.record("prod")
    seen.step("taken back", "rollback-container")

    shim = folder / "shim"
    shim.mkdir()
    kubectl = tools.need("kubectl")
    refuse = '*"delete deployments,"*) echo "no right to" >&2; exit 1 ;;'
    (shim / "kubectl").write_text(f'#!/bin/sh\ncase "$*" in {refuse} esac\nexec {kubectl} "$@"\n')
    (shim / "kubectl").chmod(0o755)
    path = f"{shim}:{cluster.environment['PATH']}"
    seen.done["clean-up"] = app.release("deploy", "prod", "v2", PATH=path)
    seen.look("clean-up")

    app.edit("k8s/release.sh", "automatic_rollback=yes", "automatic_rollback=no")
    seen.step("nobody", "deploy-container", VERSION="v3-unwell")
    seen.step("by hand", "rollback-container")

    app.edit("k8s/release.sh", "automatic_rollback=no", "automatic_rollback=yes")
    app.edit("k8s/colors.sh", "within 300", "within 10")
    stuck = '*"elbv2 describe-rules"*) echo 50; exit ;;'
    (shim / "kubectl").unlink()
    (shim / "aws").write_text(
        f'#!/bin/sh\ncase "$*" in {stuck} esac\nexec {tools.need("aws")} "$@"\n'
    )
    (shim / "aws").chmod(0o755)
    seen.done["lags"] = app.release("deploy", "prod", "v1", PATH=path)
    seen.look("lags")
    return seen


def _change_strategy(app: App, old: str, new: str) -> None:
    """Change app.yaml, make the artifacts anew and keep releases/, as an update would."""
    spec = (app.project / "app.yaml").read_text()
    folder = app.project.parent / new
    fresh = new_app(
        app.cluster,
        folder,
        spec.replace(f"strategy: {old}, bake: 6s", f"strategy: {new}, bake: 6s"),
    )
    records = {env: app.record(env) for env in ("stage", "prod")}
    app.project.rename(app.project.parent / f"before-{new}")
    fresh.project.rename(app.project)
    for env, text in records.items():
        (app.project / "releases" / env / "kustomization.yaml").write_text(text)


EVERY: dict[str, Callable[[Cluster, Path], Any]] = {
    "rolling": _rolling,
    "blue_green": _blue_green,
    "canary": _canary,
    "accidents": _accidents,
}
