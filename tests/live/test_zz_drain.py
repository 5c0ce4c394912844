"""Nodes are drained: last of all, since it takes nodes away from every other test."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.live.cluster import Cluster
from tests.live.containers import wait_until
from tests.live.releases import App, new_app, ready_addresses, watching

_SPEC = """\
gen: 1
name: drain
targets: container
environments:
  prod:
"""


def test_a_drain_honours_the_budget(cluster: Cluster, tmp_path: Path) -> None:
    """While one pod has no place to go, no second one is driven out; and when nodes are drained, two
    at a time, all but one pod serve at every moment."""
    app = new_app(cluster, tmp_path / "app", _SPEC)
    overlay = app.project / "k8s/overlays/prod"
    cluster.kubectl("apply", f"--filename={overlay}/namespace.yaml")
    cluster.kubectl("apply", f"--kustomize={overlay}")
    wait_until(lambda: len(_nodes_of_ready(app)) == 3, "three pods")
    (first, node), (second, other), _ = sorted(_nodes_of_ready(app).items())

    nodes = [one["metadata"]["name"] for one in cluster.get("nodes")["items"]]
    cluster.kubectl("cordon", *nodes)
    _evict(app, first)
    with pytest.raises(AssertionError, match="would violate the pod's disruption budget"):
        _evict(app, second)
    cluster.kubectl("uncordon", *nodes)
    wait_until(lambda: len(_nodes_of_ready(app)) == 3, "three pods again")

    slices = ("endpointslices", "--selector=kubernetes.io/service-name=drain")
    with watching(app, "prod", *slices) as seen, ThreadPoolExecutor() as pool:
        drain = ("drain", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
        ours = "--pod-selector=app.kubernetes.io/name=drain"
        list(pool.map(lambda one: cluster.kubectl(*drain, ours, one), (node, other)))
    cluster.kubectl("uncordon", *nodes)
    assert min(seen.totals(ready_addresses)) >= 2
    assert not {node, other} & set(_nodes_of_ready(app).values())


def _nodes_of_ready(app: App) -> dict[str, str]:
    """The ready pods, each with the node it is on."""
    return {
        pod["metadata"]["name"]: pod["spec"]["nodeName"]
        for pod in app.get("prod", "pods")["items"]
        for condition in pod["status"].get("conditions", [])
        if condition["type"] == "Ready" and condition["status"] == "True"
    }


def _evict(app: App, pod: str) -> None:
    path = f"/api/v1/namespaces/{app.name}-prod/pods/{pod}/eviction"
    what = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    app.cluster.kubectl("create", f"--raw={path}", "--filename=-", stdin=json.dumps(what))
