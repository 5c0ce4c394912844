"""Every check there is, a line each."""

from __future__ import annotations

from generator.check import Check, config, front, names, pods, release, scale, state, traffic
from generator.check.tools import (
    Tool,
    checkov,
    hadolint,
    kubeconform,
    kubernetes_validate,
    trivy,
)

_SEAMS = sorted(
    (check for room in (names, traffic, front, scale, config, release) for check in room.CHECKS),
    key=lambda check: check.rule,
)

CHECKS: tuple[Check, ...] = (*state.CHECKS, *_SEAMS, *pods.CHECKS)
TOOLS: tuple[Tool, ...] = (
    hadolint.TOOL,
    kubeconform.TOOL,
    kubernetes_validate.TOOL,
    checkov.TOOL,
    trivy.TOOL,
)
