"""Every check there is, a line each."""

from __future__ import annotations

from generator.check import Check, release, state, traffic
from generator.check.tools import Tool, hadolint, kubeconform

CHECKS: tuple[Check, ...] = (*state.CHECKS, *traffic.CHECKS, *release.CHECKS)
TOOLS: tuple[Tool, ...] = (hadolint.TOOL, kubeconform.TOOL)
