"""Every check there is, a line each."""

from __future__ import annotations

from generator.check import Check, seams, state
from generator.check.tools import Tool, hadolint, kubeconform

CHECKS: tuple[Check, ...] = (*state.CHECKS, *seams.CHECKS)
TOOLS: tuple[Tool, ...] = (hadolint.TOOL, kubeconform.TOOL)
