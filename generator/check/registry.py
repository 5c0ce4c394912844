"""Every check there is, a line each."""

from __future__ import annotations

from generator.check import (
    Check,
    access,
    clusters,
    config,
    fleet,
    front,
    hardening,
    machines,
    names,
    nginx,
    playbooks,
    pods,
    release,
    rolling,
    scale,
    servers,
    settings,
    state,
    traffic,
)
from generator.check.tools import (
    Tool,
    ansible_lint,
    ansible_syntax,
    checkov,
    hadolint,
    kubeconform,
    kubernetes_validate,
    packer,
    shellcheck,
    tofu,
    trivy,
)

_ROOMS = (names, traffic, front, scale, config, release)
_SERVERS = (playbooks, servers, nginx, fleet, settings, rolling, access, hardening)
_SEAMS = sorted(
    (check for room in (*_ROOMS, *_SERVERS, machines, clusters) for check in room.CHECKS),
    key=lambda check: check.rule,
)

CHECKS: tuple[Check, ...] = (*state.CHECKS, *_SEAMS, *pods.CHECKS)
TOOLS: tuple[Tool, ...] = (
    # The slowest first: all run side by side, as far as there are processors.
    ansible_lint.TOOL,
    ansible_syntax.TOOL,
    hadolint.TOOL,
    shellcheck.TOOL,
    kubeconform.TOOL,
    kubernetes_validate.TOOL,
    checkov.TOOL,
    trivy.TOOL,
    tofu.TOOL,
    packer.TOOL,
)
