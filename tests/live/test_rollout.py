"""The container approach against a control plane: deployed, rolled, failed, and taken back.

Each journey is a project that lives through one release after the other. They wait most of their
time, so they go side by side; each test looks at what one of them saw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests import tools
from tests.live.cluster import ZONES, Cluster
from tests.live.containers import wait_until
from tests.live.releases import ACCOUNT, App, asking, new_app, ready_addresses, registry, watching

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
_FLOOR = 3

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


@pytest.fixture(scope="module")
def journeys(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    """All journeys, on their way."""
    every: dict[str, Callable[[Cluster, Path], Any]] = {
        "rolling": _rolling,
        "blue_green": _blue_green,
        "canary": _canary,
        "accidents": _accidents,
    }
    with ThreadPoolExecutor(len(every)) as pool:
        yield {
            name: pool.submit(journey, cluster, tmp_path_factory.mktemp(name))
            for name, journey in every.items()
        }


@pytest.fixture
def rolling(journeys: dict[str, Future[Any]]) -> Rolling:
    found: Rolling = journeys["rolling"].result()
    return found


@pytest.fixture
def blue_green(journeys: dict[str, Future[Any]]) -> Colors:
    found: Colors = journeys["blue_green"].result()
    return found


@pytest.fixture
def canary(journeys: dict[str, Future[Any]]) -> Colors:
    found: Colors = journeys["canary"].result()
    return found


@pytest.fixture
def accidents(journeys: dict[str, Future[Any]]) -> Colors:
    found: Colors = journeys["accidents"].result()
    return found


def _succeeded(done: Done) -> bool:
    assert done.returncode == 0, done.stdout + done.stderr
    return True


def _failed(done: Done, saying: str) -> bool:
    assert done.returncode != 0, done.stdout
    assert saying in done.stderr, done.stderr
    return True


def test_a_version_goes_through_the_environments(rolling: Rolling) -> None:
    """What stage has tried runs in prod by the same digest, and each record says so."""
    assert _succeeded(rolling.done["stage"])
    assert _succeeded(rolling.done["promote"])
    record = rolling.records["promote"]
    assert record.splitlines()[2:] == rolling.records["stage"].splitlines()[2:]
    assert f"newName: {registry(rolling.app)}\n    digest: sha256:" in record
    assert 'app.kubernetes.io/version: "v1"' in record


def test_the_pods_are_spread_over_the_zones(rolling: Rolling) -> None:
    """Three pods are in three zones."""
    assert rolling.facts["zones"] == list(ZONES)


def test_a_rollout_never_goes_below_the_floor(rolling: Rolling) -> None:
    """At no moment did the Service have fewer ready pods than scale.min, nor were there more pods
    than max_surge allows."""
    assert _succeeded(rolling.done["v2"])
    assert min(rolling.ready) >= _FLOOR
    assert max(rolling.pods) == _FLOOR + 1


def test_applying_again_changes_nothing(rolling: Rolling) -> None:
    """A second apply of what is deployed leaves every object alone."""
    assert len(rolling.facts["before"]) >= 10
    assert rolling.facts["applied again"] == rolling.facts["before"]


def test_a_broken_version_is_taken_back(rolling: Rolling) -> None:
    """One that never turns ready ends in exit 1; the old pods answer all the time, and serve alone
    in the end; the record is what it was; the other environment is left alone."""
    assert _failed(
        rolling.done["broken"], "v3-broken failed in prod; the release before it serves again"
    )
    assert "roll made no progress for 15 s" in rolling.done["broken"].stderr
    assert len(rolling.answers["broken"]) > 5
    assert set(rolling.answers["broken"]) == {"v2"}
    assert rolling.records["broken"] == rolling.records["v2"]
    assert rolling.templates["after broken"] == rolling.templates["v2"]
    assert rolling.facts["stage"] == "v1"


def test_a_rollback_passes_by_what_failed(rolling: Rolling) -> None:
    """After a failed release, a rollback goes to the one that served before; and on request to any."""
    assert _succeeded(rolling.done["rollback"])
    assert rolling.answers["rollback"] == ["v1"]
    assert rolling.records["rollback"] == rolling.records["promote"]
    assert _succeeded(rolling.done["back to v1"])
    assert _failed(rolling.done["nowhere"], "prod keeps no release v9 to go back to, but: v2")


def test_a_rollback_leaves_nothing_behind(rolling: Rolling) -> None:
    """A version that is deployed after a rollback is what it was the first time, without what only
    the version in between had."""
    assert _succeeded(rolling.done["v2 again"])
    assert rolling.templates["v2 again"] == rolling.templates["v2"]


def test_the_other_color_takes_over(blue_green: Colors) -> None:
    """Green comes up beside blue, gets all requests at once, and blue sleeps."""
    assert _succeeded(blue_green.done["v2"])
    assert blue_green.serving["v2"] == {
        "color": "green",
        "answer": "v2",
        "copies": {"twins-blue": 0, "twins-green": _FLOOR},
    }
    assert blue_green.weights["v2"][0] == {"twins-blue": 100, "twins-green": 0}
    assert blue_green.weights["v2"][-1] == {"twins-blue": 0, "twins-green": 100}
    assert {*map(str, blue_green.weights["v2"])} == {
        "{'twins-blue': 100, 'twins-green': 0}",
        "{'twins-blue': 0, 'twins-green': 100}",
    }
    assert min(blue_green.ready) >= _FLOOR


def test_a_broken_color_gets_no_request(blue_green: Colors) -> None:
    """The color that serves goes on; the weights never move; the broken one has no pods left."""
    assert _failed(blue_green.done["broken"], "the release before it serves again")
    assert set(blue_green.answers["broken"]) == {"v2"}
    assert blue_green.weights["broken"][-1] == {"twins-blue": 0, "twins-green": 100}
    assert blue_green.serving["broken"]["copies"] == {"twins-blue": 0, "twins-green": _FLOOR}
    assert blue_green.records["broken"] == blue_green.records["v2"]
    assert blue_green.serving["broken"]["color"] == "green"


def test_a_rollback_wakes_the_other_color(blue_green: Colors) -> None:
    """It comes back with its pods, a failed release in between or not; further back than that there
    is nothing."""
    assert _succeeded(blue_green.done["rollback"])
    assert blue_green.serving["rollback"] == {
        "color": "blue",
        "answer": "v1",
        "copies": {"twins-blue": _FLOOR, "twins-green": 0},
    }
    assert _succeeded(blue_green.done["and back"])
    assert blue_green.serving["and back"] == blue_green.serving["v2"]
    assert blue_green.weights["and back"][-1] == {"twins-blue": 0, "twins-green": 100}
    assert blue_green.records["and back"] == blue_green.records["v2"]
    assert _failed(blue_green.done["too far"], "prod keeps only v1 to go back to")


def test_colors_end_with_their_strategy(blue_green: Colors) -> None:
    """With rolling again, one Deployment is left, and the Service asks for no color."""
    assert _succeeded(blue_green.done["rolling"])
    assert blue_green.serving["rolling"] == {
        "color": None,
        "answer": "v1",
        "copies": {"twins": _FLOOR},
    }


def test_a_canary_gets_a_share_first(canary: Colors) -> None:
    """Ten of a hundred requests, then all; the old pods sleep."""
    assert _succeeded(canary.done["v1 again"])
    weights = canary.weights["v1 again"]
    assert [weights[0], weights[-1]] == [
        {"bird-blue": 100, "bird-green": 0},
        {"bird-blue": 0, "bird-green": 100},
    ]
    assert {"bird-blue": 90, "bird-green": 10} in weights
    assert canary.serving["v1 again"]["copies"] == {"bird-blue": 0, "bird-green": _FLOOR}


def test_a_canary_that_answers_wrongly_gets_no_request(canary: Colors) -> None:
    """Ready is not enough: it is asked before it gets any traffic."""
    assert _failed(canary.done["unwell"], "the release before it serves again")
    assert set(canary.answers["unwell"]) == {"v1"}
    assert canary.weights["unwell"][-1] == {"bird-blue": 0, "bird-green": 100}


def test_colors_replace_a_rolling_release(canary: Colors) -> None:
    """The one Deployment of before serves until the first color does, and goes with its autoscaler,
    which would count the pods of both."""
    assert _succeeded(canary.done["change"])
    assert canary.serving["change"] == {
        "color": "blue",
        "answer": "v2",
        "copies": {"bird-blue": _FLOOR},
    }
    scalers = canary.app.get("prod", "horizontalpodautoscalers")["items"]
    assert {one["metadata"]["name"] for one in scalers} == {"bird-blue", "bird-green"}


def test_one_release_at_a_time(accidents: Colors) -> None:
    """A rollback in the middle of somebody's release is refused, and it is said who is at it."""
    assert _failed(accidents.done["meanwhile"], "another release is under way in prod: ")
    assert "deploy prod v2" in accidents.done["meanwhile"].stderr


def test_a_release_that_was_interrupted_is_taken_back(accidents: Colors) -> None:
    """The record is what it was; a rollback goes to what serves, and not on to what nobody watched."""
    assert accidents.done["interrupted"].returncode == 130
    assert "take it back: make rollback-container ENV=prod" in accidents.done["interrupted"].stderr
    assert accidents.records["interrupted"] == accidents.records["v1"]
    assert _succeeded(accidents.done["taken back"])
    assert accidents.serving["taken back"] == {
        "color": "blue",
        "answer": "v1",
        "copies": {"mishap-blue": _FLOOR, "mishap-green": 0},
    }
    assert accidents.weights["taken back"][-1] == {"mishap-blue": 100, "mishap-green": 0}
    assert accidents.records["taken back"] == accidents.records["v1"]


def test_a_failed_clean_up_is_no_failed_release(accidents: Colors) -> None:
    """What serves goes on serving, and it is said what was left."""
    assert _succeeded(accidents.done["clean-up"])
    assert "could not be put away" in accidents.done["clean-up"].stderr
    assert accidents.serving["clean-up"]["answer"] == "v2"
    assert accidents.serving["clean-up"]["copies"]["mishap-green"] == _FLOOR


def test_a_failed_release_that_stays_is_taken_back_by_hand(accidents: Colors) -> None:
    """With rollback.automatic false the command that the message names does what it says."""
    assert _failed(accidents.done["nobody"], "still is there: make rollback-container ENV=prod")
    assert _succeeded(accidents.done["by hand"])
    assert accidents.serving["by hand"] == {
        "color": "green",
        "answer": "v2",
        "copies": {"mishap-blue": 0, "mishap-green": _FLOOR},
    }
    assert accidents.records["by hand"] == accidents.records["clean-up"]
