"""`gen image push`: the image of this version to its repository, and the digest it has there."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from generator.image import Progress, ecr
from generator.image.engine import engine, plain, show_layer
from generator.image.source import Source, checked_tag, is_of_a_commit, read_source
from generator.problems import GenError, InputError, MachineError, Problem

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

_VERSION_LABEL = "org.opencontainers.image.version"
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"(?:(?P<host>[A-Za-z0-9.-]+(?::\d+)?)/)?{_PART}(?:/{_PART})*")


class PushWish(NamedTuple):
    """What the command line asks for."""

    tag: str | None
    repository: str | None
    allow_dirty: bool


class Pushed(NamedTuple):
    """An image in a registry: by its tag, and by its digest, which never names another."""

    image: str
    digest: str
    source: Source


class _Target(NamedTuple):
    repository: str
    registry: ecr.Registry | None  # None where it is not ECR
    auth: dict[str, str] | None  # None: as docker login left it


def push(start: Path, wish: PushWish, today: dt.date, progress: Progress) -> Pushed:
    """Push the image of the project that `start` is in.

    Raises:
        InputError: no project, a wrong spec or wish, no such image, another account, a taken tag.
        MachineError: no engine; AWS or the registry is in the way.
    """
    source = read_source(start, today)
    tag = checked_tag(wish.tag or source.version)
    if not wish.allow_dirty:
        _refuse_without_commit(tag)
    target = _target(source, wish.repository)
    with engine() as client:
        made = _local_image(client, f"{source.name}:{tag}")
        if not wish.allow_dirty:
            _refuse_without_commit(made.labels.get(_VERSION_LABEL, ""))
        made.tag(target.repository, tag)
        progress(f"Pushing {target.repository}:{tag}")
        digest = _send(client, target, tag, progress)
    return Pushed(f"{target.repository}:{tag}", f"{target.repository}@{digest}", source)


def _refuse_without_commit(version: str) -> None:
    if not is_of_a_commit(version):
        raise InputError(
            Problem(
                "no-commit",
                f"{version} names no commit",
                "Commit and build again; or push it as it is with --allow-dirty.",
                "Nobody could see what is in it, or build it again. Nothing was pushed.",
            )
        )


def _target(source: Source, repository: str | None) -> _Target:
    spec = source.checked.project.base
    if repository is None:
        account = ecr.caller_account(spec.region, spec.account)
        host = f"{account}.{source.values['registry_domain']}"
        registry = ecr.Registry(account, spec.region)
        return _Target(f"{host}/{spec.name}", registry, ecr.login(spec.region))
    form = _REPOSITORY.fullmatch(repository)
    if form is None:
        raise InputError(
            Problem(
                "bad-repository",
                f"{repository} is not the name of a repository",
                "Write --repository HOST/NAME: lower case, no https://, no tag.",
            )
        )
    named = ecr.registry_of(form["host"] or "")
    if named is None:
        return _Target(repository, None, None)
    ecr.caller_account(named.region, spec.account)
    return _Target(repository, named, ecr.login(named.region))


def _local_image(client: DockerClient, image: str) -> Image:
    from docker.errors import ImageNotFound

    try:
        return client.images.get(image)
    except ImageNotFound:
        raise InputError(
            Problem(
                "no-image",
                f"the engine has no image {image}",
                "Build it: gen image build. An image of another tag is named by --tag.",
                "The version comes from git: a commit or a change since the build is another one.",
            )
        ) from None


def _send(client: DockerClient, target: _Target, tag: str, progress: Progress) -> str:
    """Push, and return the digest that the registry gave the image."""
    digest = ""
    events = client.api.push(
        target.repository, tag, stream=True, auth_config=target.auth, decode=True
    )
    for event in events:
        if "error" in event:
            raise _refusal(plain(str(event["error"])), target, tag)
        digest = (event.get("aux") or {}).get("Digest") or digest
        show_layer(event, progress)
    if not digest:
        raise MachineError(
            Problem(
                "push-unanswered",
                f"{target.repository}:{tag} was sent, and the registry did not confirm it",
                "Push again: what has arrived is not sent twice.",
            )
        )
    return digest


def _refusal(message: str, target: _Target, tag: str) -> GenError:
    """What a registry's refusal means. The phrases are those of ECR and of the registry API."""
    said = f"The registry said: {message}"
    text = message.lower()
    if "cannot be overwritten" in text or "immutable" in text:
        return InputError(
            Problem(
                "tag-taken",
                f"{target.repository} has {tag} already, and its tags are immutable",
                "If it is the image that you mean, it is there; else commit and build a new version.",
                said,
            )
        )
    if any(word in text for word in ("does not exist", "name unknown", "404 not found")):
        return MachineError(
            Problem(
                "no-repository",
                f"there is no repository {target.repository}",
                _how_to_create(target),
                said,
            )
        )
    if any(word in text for word in ("denied", "no basic auth", "unauthorized", "forbidden")):
        return MachineError(
            Problem(
                "push-denied",
                f"you may not push to {target.repository}",
                _how_to_get_in(target),
                said,
            )
        )
    return MachineError(
        Problem(
            "push-failed",
            f"the push to {target.repository} broke off",
            "Mend what that names and push again: what has arrived is not sent twice.",
            said,
        )
    )


def _how_to_get_in(target: _Target) -> str:
    if target.registry:
        return "Have the right given to the role of these credentials: ecr:PutImage and the layer uploads."
    return f"Log in as one who may: docker login {target.repository.partition('/')[0]}."


def _how_to_create(target: _Target) -> str:
    if target.registry is None:
        return "Create it in the registry, or name another: --repository."
    name = target.repository.partition("/")[2]
    return (
        f"Create it: aws ecr create-repository --region {target.registry.region} "
        f"--repository-name {name} --image-tag-mutability IMMUTABLE "
        "--image-scanning-configuration scanOnPush=true"
    )
