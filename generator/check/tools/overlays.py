"""What `kubectl kustomize` makes of each overlay: the subject of every tool that reads manifests.

Tools see the whole, never the fragments: a patch alone is no manifest, and a setting that an overlay
takes away again is there in the base.
"""

from __future__ import annotations

from collections.abc import Iterator

from generator.check import Finding
from generator.check.tools import Answer, Step
from generator.render.context import Context
from generator.tree import FileTree

_FOLDER = "k8s/overlays/"
STACKS = "tofu"
"""The folder of OpenTofu's modules and stacks."""


def overlays(files: FileTree, context: Context) -> Iterator[tuple[str, Context]]:
    """The overlay of each environment that has one, with the environment."""
    for environment in context["environments"]:
        overlay = f"{_FOLDER}{environment['name']}"
        if f"{overlay}/kustomization.yaml" in files:
            yield overlay, environment


def build(overlay: str, *, kept: bool = False, apart: str = "") -> Step:
    """The call that builds an overlay; `kept` in a file of the scratch folder, see `Step`."""
    into = f"{overlay.removeprefix(_FOLDER)}.yaml" if kept else ""
    return Step(("kubectl", "kustomize", overlay), into=into, apart=apart)


def overlay_of(file: str) -> str:
    """The overlay behind a kept file, whatever folder a tool says that the file is in."""
    return f"{_FOLDER}{file.rpartition('/')[2].removesuffix('.yaml')}"


def not_built(answer: Answer) -> Finding | None:
    """The finding of an overlay that kubectl cannot build; None where the answer is another's."""
    if answer.program != "kubectl":
        return None
    why = answer.stderr.strip().removeprefix("error: ") or f"kubectl ended with {answer.code}"
    return Finding(
        "kustomize", answer.argv[-1], 0, why, "Mend the overlay: kubectl cannot build it."
    )
