"""Releases that must not happen, or cannot: a clear word, nothing half applied, a way back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.live.cluster import Cluster
from tests.live.releases import ACCOUNT, App, new_app

_SPEC = f"""\
gen: 1
name: {{name}}
account: "{ACCOUNT}"
targets: container
rollout: {{{{bake: 0s}}}}
environments:
  stage: {{{{scale: {{{{min: 1}}}}}}}}
  prod: {{{{scale: {{{{min: 1}}}}}}}}
"""


@pytest.fixture(scope="module")
def app(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> App:
    """A project of which stage runs v1 and prod nothing. Each has a cluster of its own by the spec."""
    found = new_app(cluster, tmp_path_factory.mktemp("wrong") / "app", _SPEC.format(name="wrong"))
    found.push("v1", "v2")
    done = found.make("deploy-container", ENV="stage", VERSION="v1")
    assert done.returncode == 0, done.stderr
    return found


def _objects(app: App, environment: str) -> dict[str, str]:
    """Everything in a namespace that somebody could have written, with its state."""
    kinds = "deployments,services,ingresses,horizontalpodautoscalers,networkpolicies,configmaps"
    return {
        f"{one['kind']} {one['metadata']['name']}": json.dumps(one.get("spec") or one.get("data"))
        for one in app.get(environment, kinds)["items"]
    }


def _namespaces(app: App) -> set[str]:
    return {one["metadata"]["name"] for one in app.cluster.get("namespaces")["items"]}


def test_cluster_does_not_answer(app: App, tmp_path: Path) -> None:
    """An API that cannot be reached is said to be that, with what to do."""
    configuration = json.loads((app.cluster.folder / "kubeconfig").read_text())
    configuration["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "kubeconfig").write_text(json.dumps(configuration))

    done = app.release("deploy", "stage", "v2", KUBECONFIG=str(tmp_path / "kubeconfig"))

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "the namespaces of the cluster wrong-stage-eks cannot be read; if its API is private, go to "
        "where it can be reached from"
    )


def test_context_that_is_not_there(app: App) -> None:
    """A context that the kubeconfig lacks is named."""
    done = app.release("deploy", "stage", "v2", KUBE_CONTEXT="mine")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "your kubeconfig has no context mine"


def test_cluster_of_another_environment(app: App) -> None:
    """A context that leads to where another environment lives is refused, and both are named."""
    done = app.make("deploy-container", ENV="prod", VERSION="v1")

    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == (
        "the context local points to the cluster of stage; prod is the namespace wrong-prod of the "
        "cluster wrong-prod-eks"
    )
    assert "wrong-prod" not in _namespaces(app)


def test_namespace_of_somebody_else(cluster: Cluster, tmp_path: Path) -> None:
    """A namespace of that name which is not ours is left alone."""
    app = new_app(cluster, tmp_path / "app", _SPEC.format(name="alien"))
    app.push("v1")
    cluster.kubectl("create", "namespace", "alien-prod")
    before = cluster.get("namespace", "alien-prod")

    done = app.make("deploy-container", ENV="prod", VERSION="v1")

    assert done.returncode != 0
    assert "the namespace alien-prod is somebody else's" in done.stderr
    assert cluster.get("namespace", "alien-prod") == before
    assert set(_objects(app, "prod")) == {"ConfigMap kube-root-ca.crt"}


def test_version_that_the_registry_lacks(app: App) -> None:
    """It is said how to bring it there; neither the cluster nor the record is touched."""
    before, record = _objects(app, "stage"), app.record("stage")

    done = app.make("deploy-container", ENV="stage", VERSION="v9")

    assert done.returncode != 0
    assert "the registry has no v9: build and push it" in done.stderr
    assert (_objects(app, "stage"), app.record("stage")) == (before, record)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        pytest.param(
            "app.kubernetes.io/name: wrong", "app: wrong", "field is immutable", id="immutable"
        ),
        pytest.param("periodSeconds:", "periodSecond:", "unknown field", id="unknown"),
        pytest.param("runAsNonRoot: true", "runAsNonRoot: false", None, id="policy"),
    ],
)
def test_what_the_cluster_refuses(app: App, old: str, new: str, says: str | None) -> None:
    """A field that cannot be changed, or that does not exist, is said before anything is applied."""
    file = app.project / "k8s/base/deployment.yaml"
    text, before, record = file.read_text(), _objects(app, "stage"), app.record("stage")
    file.write_text(text.replace(old, new))

    done = app.make("deploy-container", ENV="stage", VERSION="v2")
    file.write_text(text)

    assert done.returncode != 0
    if says:
        assert says in done.stderr
        assert "stage takes none of it, and nothing was changed" in done.stderr
    else:
        assert 'violates PodSecurity "restricted' in done.stderr
        assert "the release before it serves again" in done.stderr
    assert (_objects(app, "stage"), app.record("stage")) == (before, record)


def test_a_first_release_that_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    """It leaves no namespace behind."""
    app = new_app(cluster, tmp_path / "app", _SPEC.format(name="typo"))
    app.push("v1")
    app.edit("k8s/base/deployment.yaml", "periodSeconds:", "periodSecond:")

    done = app.make("deploy-container", ENV="prod", VERSION="v1")

    assert done.returncode != 0
    assert "prod takes none of it, and nothing was changed" in done.stderr
    assert "typo-prod" not in _namespaces(app)
    assert "nothing-released-yet" in app.record("prod")


def test_quota_is_used_up(app: App) -> None:
    """A pod that may not be made ends the wait at once, in the cluster's words; what served serves."""
    quota = ("create", "quota", "small", "--hard=pods=1")
    app.kubectl("stage", *quota)
    before, record = _objects(app, "stage"), app.record("stage")

    done = app.make("deploy-container", ENV="stage", VERSION="v2")
    app.kubectl("stage", "delete", "quota", "small")

    assert done.returncode != 0
    assert "exceeded quota: small" in done.stderr
    assert "v2 failed in stage; the release before it serves again" in done.stderr
    assert app.answer("stage") == "v1"
    assert (_objects(app, "stage"), app.record("stage")) == (before, record)


def test_destroy(cluster: Cluster, tmp_path: Path) -> None:
    """The namespace goes with all that is in it, and what is not in a namespace too."""
    app = new_app(cluster, tmp_path / "app", _SPEC.format(name="gone"))
    app.push("v1")
    done = app.make("deploy-container", ENV="prod", VERSION="v1")
    assert done.returncode == 0, done.stderr

    done = app.release("destroy", "prod", CONFIRM="gone-prod")

    assert done.returncode == 0, done.stderr
    assert "gone-prod" not in _namespaces(app)
    classes = cluster.get("ingressclasses")["items"]
    assert "gone-prod" not in {one["metadata"]["name"] for one in classes}
