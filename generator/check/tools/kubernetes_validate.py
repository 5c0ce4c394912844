"""kubernetes-validate: every overlay against this and the next minor version of Kubernetes.

The next version too, where the tool knows it: what goes away is found before the cluster is upgraded.
The tool brings its schemas with it and asks nobody. Kinds of which it has none are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Finding
from generator.check.tools import SCRATCH, Answer, Crashed, Job, Step, Tool, Unavailable
from generator.check.tools.overlays import build, not_built, overlays
from generator.render.context import Context
from generator.tree import FileTree

_PASSED = re.compile(r"^INFO \S+ passed for resource \S+ against version (\S+)", re.MULTILINE)
_WRONG = re.compile(
    r"ERROR \S+ did not validate for resource (\S+) against version (\S+): (?:: )?(.*)"
)
_UNKNOWN = re.compile(r"^FATAL .* does not support kubernetes version (\S+)", re.MULTILINE)


def jobs(files: FileTree, context: Context) -> Iterator[Job]:
    for overlay, environment in overlays(files, context):
        this, kept = environment["kubernetes"], build(overlay, kept=True)
        # A file and not a pipe: for the second version there would be nothing left to read.
        call = ("kubernetes-validate", "--strict", "-k", this, "-k", _next(this))
        yield Job(overlay, (kept, Step((*call, f"{SCRATCH}/{kept.into}"))))


def _next(version: str) -> str:
    major, _, minor = version.partition(".")
    return f"{major}.{int(minor) + 1}"


def read(answer: Answer) -> Iterator[Finding]:
    if broken := not_built(answer):
        yield broken
        return
    lines = answer.stdout.splitlines()
    wrong = [found for line in lines if (found := _WRONG.fullmatch(line))]
    seen = {found[2] for found in wrong} | set(_PASSED.findall(answer.stdout))
    unknown = set(_UNKNOWN.findall(answer.stdout))
    this, following = answer.argv[3], answer.argv[5]
    if this in unknown:
        raise Unavailable(f"it knows no Kubernetes {this} yet; a newer one may")
    errors = sum(line.startswith("ERROR ") for line in lines)
    if len(wrong) != errors or not {this, following} <= seen | unknown:
        said = [*lines, *answer.stderr.splitlines()] or [f"exit {answer.code}"]
        raise Crashed(said[-1])
    for resource, version, why in (found.groups() for found in wrong):
        yield Finding(
            "kubernetes-validate",
            answer.label,
            0,
            f"{resource} does not fit Kubernetes {version}: {why}",
            f"Write the manifest as the schema of Kubernetes {version} asks.",
        )


def passed(answer: Answer) -> int:
    return len(_PASSED.findall(answer.stdout))


TOOL = Tool(
    "kubernetes-validate",
    "every overlay fits its Kubernetes version and the next one",
    ("kubectl", "kubernetes-validate"),
    "kubectl: see kubernetes.io/docs/tasks/tools; pip install kubernetes-validate",
    jobs,
    read,
    passed,
)
