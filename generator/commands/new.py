"""`gen new`: a new project from a name, or from a spec."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from generator.commands import console, today
from generator.console import as_data
from generator.project.new import Born, Wish, new


@click.command(
    "new",
    short_help="Make a new project.",
    help="Make a new project: a spec, an app that runs, and everything to deploy it.",
    epilog="Example: gen new my-app --targets all --runtime python --set scale.max=20",
)
@click.argument("name", required=False)
@click.option(
    "--targets", metavar="A,B", help="server, vm, container, serverless; or all (the default)."
)
@click.option("--runtime", type=click.Choice(("nodejs", "python")), help="Language of the app.")
@click.option(
    "--spec",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Start from this spec.",
)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Set a key of the spec.")
@click.option("--dir", "folder", type=click.Path(path_type=Path, readable=False), metavar="DIR", help="The project folder; default ./NAME.")  # fmt: skip
@click.pass_context
def command(  # noqa: PLR0917 - click passes them by name
    context: click.Context,
    name: str | None,
    targets: str | None,
    runtime: str | None,
    spec: Path | None,
    sets: tuple[str, ...],
    folder: Path | None,
) -> None:
    chosen = tuple(part.strip() for part in targets.split(",")) if targets is not None else None
    born = new(Wish(name, spec, chosen, runtime, sets, folder), today())
    out = console(context)
    out.warn(born.checked.warnings, born.checked.sources)
    out.say(_report(born))
    out.data(
        {
            "project": str(born.folder),
            "name": born.checked.project.base.name,
            "targets": list(born.checked.resolved.targets),
            "environments": [e.name for e in born.checked.project.environments],
            "files": [path for path in born.files if not path.startswith(".gen/")],
            "problems": [as_data(problem) for problem in born.checked.warnings],
        }
    )


def _report(born: Born) -> str:
    resolved = born.checked.resolved
    count = sum(not path.startswith(".gen/") for path in born.files)
    steps = [
        (f"cd {shlex.quote(str(born.folder))}", ""),
        ("make test", "the app's own tests"),
        ("make run", f"serve it on http://localhost:{born.checked.project.base.http.port}"),
        *((f"make build-{target}", f"build for {target}") for target in resolved.targets),
        ("gen check", "prove that the artifacts agree"),
    ]
    lines = [f"Created {born.folder}: {count} files for {', '.join(resolved.targets)}", "", "Next:"]
    lines += [f"  {step:<26}# {why}" if why else f"  {step}" for step, why in steps]
    return "\n".join([*lines, "  README.md tells how to deploy, roll back and tear down."])
