"""Every check there is, a line each."""

from __future__ import annotations

from generator.check import Check, names, release, state, traffic
from generator.check.tools import Tool, hadolint, kubeconform

_SEAMS = sorted((*names.CHECKS, *traffic.CHECKS, *release.CHECKS), key=lambda check: check.rule)

CHECKS: tuple[Check, ...] = (*state.CHECKS, *_SEAMS)
TOOLS: tuple[Tool, ...] = (hadolint.TOOL, kubeconform.TOOL)
