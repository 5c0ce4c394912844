"""`gen image`: the container image, built and pushed."""

from __future__ import annotations

from pathlib import Path

import click

from generator.commands import console, today
from generator.console import as_data
from generator.image import megabytes
from generator.image.build import BuildWish
from generator.image.build import build as build_image
from generator.image.push import PushWish
from generator.image.push import push as push_image


@click.group(
    "image",
    help="Build the app's container image, and push it to its registry.",
    epilog="Example: gen image build && gen image push",
)
def command() -> None:
    pass


@command.command(
    "build",
    help="Build the image NAME:VERSION. The version is what git describe says.",
    epilog="Example: gen image build --build-arg BASE_IMAGE=mirror.example.com/node:24-slim",
)
@click.option("--tag", metavar="TAG", help="Tag the image so, not with its version.")
@click.option(
    "--build-arg", "args", multiple=True, metavar="KEY=VALUE", help="Set an ARG of the Dockerfile."
)
@click.option("--no-cache", is_flag=True, help="Run every step anew.")
@click.option("--pull", is_flag=True, help="Get the newest base image first.")
@click.pass_context
def build(
    context: click.Context, tag: str | None, args: tuple[str, ...], no_cache: bool, pull: bool
) -> None:
    out = console(context)
    with out.progress() as progress:
        built = build_image(Path.cwd(), BuildWish(tag, args, no_cache, pull), today(), progress)
    checked = built.source.checked
    out.warn(checked.warnings, checked.sources)
    out.result(
        f"{built.image} {built.id} {megabytes(built.size)}",
        {
            "image": built.image,
            "id": built.id,
            "size": built.size,
            "version": built.source.version,
            "problems": [as_data(problem) for problem in checked.warnings],
        },
    )


@command.command(
    "push",
    help="Push the image NAME:VERSION to ECR. Prints the digest that it has there.",
    epilog="Example: gen image push --repository registry.example.com/team/my-app",
)
@click.option("--tag", metavar="TAG", help="Push the image of this tag.")
@click.option(
    "--repository",
    metavar="HOST/NAME",
    help="Push there; default: the repository named like the app, in its account and region.",
)
@click.option("--allow-dirty", is_flag=True, help="Push an image of uncommitted changes.")
@click.pass_context
def push(
    context: click.Context, tag: str | None, repository: str | None, allow_dirty: bool
) -> None:
    out = console(context)
    with out.progress() as progress:
        pushed = push_image(Path.cwd(), PushWish(tag, repository, allow_dirty), today(), progress)
    checked = pushed.source.checked
    out.warn(checked.warnings, checked.sources)
    out.result(
        pushed.digest,
        {
            "image": pushed.image,
            "digest": pushed.digest,
            "version": pushed.source.version,
            "problems": [as_data(problem) for problem in checked.warnings],
        },
    )
