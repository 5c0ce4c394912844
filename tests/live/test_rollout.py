"""The container approach against a control plane: deployed, rolled, failed, and taken back."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from tests.live.cluster import ZONES
from tests.live.journeys import FLOOR, Colors, Done, Rolling
from tests.live.releases import registry


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
    assert min(rolling.ready) >= FLOOR
    assert max(rolling.pods) == FLOOR + 1


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
        "copies": {"twins-blue": 0, "twins-green": FLOOR},
    }
    assert blue_green.weights["v2"][0] == {"twins-blue": 100, "twins-green": 0}
    assert blue_green.weights["v2"][-1] == {"twins-blue": 0, "twins-green": 100}
    assert {*map(str, blue_green.weights["v2"])} == {
        "{'twins-blue': 100, 'twins-green': 0}",
        "{'twins-blue': 0, 'twins-green': 100}",
    }
    assert min(blue_green.ready) >= FLOOR


def test_a_broken_color_gets_no_request(blue_green: Colors) -> None:
    """The color that serves goes on; the weights never move; the broken one has no pods left."""
    assert _failed(blue_green.done["broken"], "the release before it serves again")
    assert set(blue_green.answers["broken"]) == {"v2"}
    assert blue_green.weights["broken"][-1] == {"twins-blue": 0, "twins-green": 100}
    assert blue_green.serving["broken"]["copies"] == {"twins-blue": 0, "twins-green": FLOOR}
    assert blue_green.records["broken"] == blue_green.records["v2"]
    assert blue_green.serving["broken"]["color"] == "green"


def test_a_rollback_wakes_the_other_color(blue_green: Colors) -> None:
    """It comes back with its pods, a failed release in between or not; further back than that there
    is nothing."""
    assert _succeeded(blue_green.done["rollback"])
    assert blue_green.serving["rollback"] == {
        "color": "blue",
        "answer": "v1",
        "copies": {"twins-blue": FLOOR, "twins-green": 0},
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
        "copies": {"twins": FLOOR},
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
    assert canary.serving["v1 again"]["copies"] == {"bird-blue": 0, "bird-green": FLOOR}


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
        "copies": {"bird-blue": FLOOR},
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
        "copies": {"mishap-blue": FLOOR, "mishap-green": 0},
    }
    assert accidents.weights["taken back"][-1] == {"mishap-blue": 100, "mishap-green": 0}
    assert accidents.records["taken back"] == accidents.records["v1"]


def test_a_failed_clean_up_is_no_failed_release(accidents: Colors) -> None:
    """What serves goes on serving, and it is said what was left."""
    assert _succeeded(accidents.done["clean-up"])
    assert "could not be put away" in accidents.done["clean-up"].stderr
    assert accidents.serving["clean-up"]["answer"] == "v2"
    assert accidents.serving["clean-up"]["copies"]["mishap-green"] == FLOOR


def test_a_failed_release_that_stays_is_taken_back_by_hand(accidents: Colors) -> None:
    """With rollback.automatic false the command that the message names does what it says."""
    assert _failed(accidents.done["nobody"], "still is there: make rollback-container ENV=prod")
    assert _succeeded(accidents.done["by hand"])
    assert accidents.serving["by hand"] == {
        "color": "green",
        "answer": "v2",
        "copies": {"mishap-blue": 0, "mishap-green": FLOOR},
    }
    assert accidents.records["by hand"] == accidents.records["clean-up"]


def test_no_pod_goes_before_the_balancer_follows(accidents: Colors) -> None:
    """Where the balancer keeps other weights than the Ingress has, forth and back, both sets stay."""
    assert _failed(accidents.done["lags"], "the balancer does not do what the Ingress says")
    assert accidents.serving["lags"] == {
        "color": "green",
        "answer": "v2",
        "copies": {"mishap-blue": FLOOR, "mishap-green": FLOOR},
    }
