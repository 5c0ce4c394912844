"""`gen image build`: the project's Dockerfile, built by the engine as the Makefile builds it."""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from generator.check.artifacts import Instruction
from generator.image import Progress
from generator.image.engine import Event, engine, message_of, plain, show_layer
from generator.image.source import (
    DOCKERFILE,
    Source,
    build_args,
    checked_tag,
    read_dockerfile,
    read_source,
)
from generator.problems import FailedError, InputError, MachineError, Problem, Where

if TYPE_CHECKING:
    from docker import DockerClient

_LAST_LINES = 15
_STEP = re.compile(r"step (?P<number>\d+)/(?P<count>\d+) ?: (?P<text>.*)", re.IGNORECASE)
_CHATTER = ("---> ", "--> ", "Removing intermediate container ", "Successfully ")
# What the builder itself knows, without an ARG.
_PREDEFINED = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


class BuildWish(NamedTuple):
    """What the command line asks for."""

    tag: str | None
    args: Sequence[str]
    no_cache: bool
    pull: bool


class Built(NamedTuple):
    """The image that a build made; `size` in bytes."""

    image: str
    id: str
    size: int
    source: Source


def build(start: Path, wish: BuildWish, today: dt.date, progress: Progress) -> Built:
    """Build the image of the project that `start` is in.

    Raises:
        InputError: no project, a wrong spec, or a wrong wish.
        FailedError: the build fails.
        MachineError: no engine, or it fails.
    """
    source = read_source(start, today)
    image = f"{source.name}:{checked_tag(wish.tag or source.version)}"
    text, instructions = read_dockerfile(source.folder)
    args = {**build_args(source), **_asked(wish.args, instructions)}
    job = _Job(source.folder, image, f"linux/{source.values['architecture']}", args, wish)
    log = _Log(text, instructions, progress)
    with engine() as client:
        progress(f"Building {image} for {job.platform}")
        _run(client, job, log)
        made = client.images.get(image)
    return Built(image, str(made.id), int(made.attrs["Size"]), source)


def _asked(assignments: Iterable[str], instructions: list[Instruction]) -> dict[str, str]:
    """The build arguments of the command line, each one that the Dockerfile takes."""
    declared = {
        word.partition("=")[0] for one in instructions if one.word == "ARG" for word in one.words()
    }
    args = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise InputError(
                Problem(
                    "bad-build-arg",
                    f"--build-arg {assignment} sets nothing",
                    "Write --build-arg KEY=VALUE.",
                )
            )
        if name not in declared and name.upper() not in _PREDEFINED:
            close = difflib.get_close_matches(name, declared, n=1)
            hint = f"Did you mean {close[0]}?" if close else "Declare it there, or leave it out."
            known = ", ".join(sorted(declared)) or "none"
            raise InputError(
                Problem(
                    "unknown-build-arg",
                    f"the {DOCKERFILE} has no ARG {name}",
                    hint,
                    f"It has: {known}.",
                    Where(DOCKERFILE),
                )
            )
        args[name] = value
    return args


class _Job(NamedTuple):
    folder: Path
    image: str
    platform: str
    args: dict[str, str]
    wish: BuildWish


def _run(client: DockerClient, job: _Job, log: _Log) -> None:
    from docker.errors import APIError
    from requests.exceptions import RequestException

    try:
        events = client.api.build(
            path=str(job.folder),
            tag=job.image,
            platform=job.platform,
            buildargs=job.args,
            nocache=job.wish.no_cache,
            pull=job.wish.pull,
            rm=True,
            forcerm=True,
            decode=True,
        )
        for event in events:
            log.add(event)
    except APIError as error:
        if not error.is_client_error():
            raise
        raise log.failure(message_of(error)) from None  # a Dockerfile that cannot be parsed
    except RequestException:  # an OSError too, but not of a file
        raise
    except OSError as error:
        raise _unreadable(error, job.folder) from None


def _unreadable(error: OSError, folder: Path) -> MachineError:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    file = os.path.relpath(cause.filename or folder, folder)
    return MachineError(
        Problem(
            "context-unreadable",
            f"{file} cannot be sent to the engine: {cause.strerror or error}",
            "Give yourself the right to read it, or leave it out in .dockerignore.",
            where=Where(file),
        )
    )


class _Log:
    """What the engine says of a build: told on, and kept as far as a failure needs it."""

    def __init__(self, text: str, instructions: list[Instruction], progress: Progress):
        self._text = text
        self._instructions = instructions
        self._progress = progress
        self._step: re.Match[str] | None = None
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._unfinished = ""
        self._parts = {"output"}  # what is shown of the step; the layers that it pulls among it

    def add(self, event: Event) -> None:
        if "error" in event:
            raise self.failure(plain(str(event["error"])))
        if "stream" in event:
            *lines, self._unfinished = (self._unfinished + event["stream"]).split("\n")
            for line in lines:
                self._line(line)
        elif "id" in event:
            self._parts.add(event["id"])
            show_layer(event, self._progress)

    def _line(self, line: str) -> None:
        line = plain(line)
        step = _STEP.fullmatch(line)
        if step:
            self._step = step
            self._last.clear()
            for part in self._parts:
                self._progress("", part=part)
            self._progress(f"{step['number']}/{step['count']} {step['text']}")
        elif line and not line.startswith(_CHATTER):
            self._last.append(line)
            self._progress(line, part="output")

    def failure(self, message: str) -> FailedError:
        """The problem of a build that ended with the engine's `message`."""
        self._line(self._unfinished)
        at = "" if self._step is None else f" at step {self._step['number']}/{self._step['count']}"
        lines = [f"The engine said: {message}"]
        if self._last:
            lines += ["Before that:", *(f"  | {line}" for line in self._last)]
        problem = Problem(
            "build-failed",
            f"the image cannot be built: it fails{at}",
            self._fix(),
            "\n  ".join(lines),
            Where(DOCKERFILE, self._failed_line(message)),
        )
        return FailedError(problem, {DOCKERFILE: self._text})

    def _fix(self) -> str:
        if self._step and self._step["text"].upper().startswith("FROM "):
            return "See that the engine can get this image, or name another base image."
        return "Mend what that names and build again."

    def _failed_line(self, message: str) -> int:
        """The line of the instruction that failed; 0 where it is not known."""
        if self._step is None:
            named = re.search(r"\bline (\d+)", message)
            return int(named[1]) if named else 0
        index = int(self._step["number"]) - 1
        return self._instructions[index].line if index < len(self._instructions) else 0
