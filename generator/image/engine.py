"""The Docker engine: found where the docker command finds it, asked through the docker SDK."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from generator.image import Progress, megabytes
from generator.problems import MachineError, Problem

if TYPE_CHECKING:
    from docker import DockerClient

Event = dict[str, Any]
"""One message of the engine while it works."""

_ANSWER_S = 10  # an engine that runs answers at once
_SILENCE_S = 600  # a registry may say nothing for long while it takes in a layer


@contextmanager
def engine() -> Iterator[DockerClient]:
    """The engine, for as long as the block runs.

    Raises:
        MachineError: none answers, or it fails in the middle.
    """
    from docker import DockerClient
    from docker.context import ContextAPI
    from docker.errors import APIError, DockerException
    from docker.utils import kwargs_from_env
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    address: dict[str, Any] = {}
    try:
        address = dict(kwargs_from_env())
        if "base_url" not in address:
            address = {**ContextAPI.kwargs_from_context(), **address}
        client = DockerClient(**address, version="auto", timeout=_ANSWER_S, use_ssh_client=True)
    except DockerException as error:
        raise _no_engine(str(address.get("base_url", "")), error) from None
    client.api.timeout = _SILENCE_S
    try:
        yield client
    except APIError as error:
        raise MachineError(
            Problem(
                "engine-failed",
                "the Docker engine could not do it",
                "See the log of the engine; docker info tells how it is.",
                f"It said: {message_of(error)}",
            )
        ) from None
    except (RequestException, HTTPError):
        raise MachineError(
            Problem(
                "engine-lost",
                "the Docker engine stopped answering",
                "See that it runs (docker info), then run the command again.",
            )
        ) from None
    except DockerException as error:
        raise MachineError(
            Problem(
                "engine-settings",
                "the settings of the docker command are in the way",
                "Mend them in ~/.docker/config.json: docker itself stumbles over the same.",
                plain(str(error)),
            )
        ) from None
    finally:
        client.close()


def message_of(error: Exception) -> str:
    """What the engine itself said, without the request that it answered."""
    return plain(str(getattr(error, "explanation", None) or error))


_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|.)")


def plain(text: str) -> str:
    """Foreign output as one line that cannot steer a terminal; what was overprinted is gone."""
    lines = _ESCAPES.sub("", text).split("\n")
    shown = " ".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return "".join(c if c.isprintable() else " " for c in shown).strip()


def _no_engine(address: str, error: Exception) -> MachineError:
    tried = address or "its usual socket"
    if os.environ.get("DOCKER_HOST"):
        tried += ", which DOCKER_HOST names"
    failed_call = next(_failed_calls(error), None)
    reason = failed_call.strerror if failed_call else str(error)
    if isinstance(failed_call, PermissionError):
        fix = "Join the engine's group and log in anew: sudo usermod -aG docker $USER."
    elif sys.platform == "linux":
        fix = "Start it: sudo systemctl start docker. One elsewhere is named by DOCKER_HOST."
    else:
        fix = "Start Docker Desktop, or what you use for it. One elsewhere is named by DOCKER_HOST."
    return MachineError(
        Problem("no-engine", "no Docker engine answers", fix, f"Tried {tried}: {reason}.")
    )


def _failed_calls(error: BaseException | None) -> Iterator[OSError]:
    """The system calls behind an error: the SDK wraps them in errors of other libraries."""
    while error is not None:
        for inner in (error, *error.args):
            if isinstance(inner, OSError) and inner.strerror:
                yield inner
            elif isinstance(inner, Exception) and inner is not error:
                yield from _failed_calls(inner)
        error = error.__cause__ or error.__context__


_IDLE = ("Preparing", "Waiting")
_COUNTDOWN = re.compile(r"(?P<text>Retrying) (?P<amount>in \d+ seconds?)")


def show_layer(event: Event, progress: Progress) -> None:
    """Tell of a layer that comes from or goes to a registry."""
    layer, status = event.get("id"), event.get("status")
    if not layer or not status or status in _IDLE:
        return
    detail = event.get("progressDetail") or {}
    current, total = detail.get("current"), detail.get("total")
    amount = f"{megabytes(current)} of {megabytes(total)}" if current and total else ""
    if countdown := _COUNTDOWN.fullmatch(status):
        status, amount = countdown["text"], countdown["amount"]
    progress(plain(f"{layer}: {status}"), part=layer, amount=amount)
