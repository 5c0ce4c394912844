"""Names within the limits of what they name: labels, AWS resources, variables of Ansible."""

from __future__ import annotations

import hashlib
import re


def label_value(text: str) -> str:
    """Free text as the value of a Kubernetes label: at most 63 of [A-Za-z0-9._-].

    Text that does not fit as it is ends in a short hash, so that two owners never share a label.
    """
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-_.")
    if slug == text and len(slug) <= 63:
        return slug
    return f"{slug[:54].rstrip('-_.') or 'owner'}-{_short_hash(text)}"


def physical_name(app: str, environment: str, approach: str, longest: int) -> str:
    """`<app>-<env>-<approach>`, shortened with a hash where a service's limit asks for it."""
    name = f"{app}-{environment}-{approach}"
    if len(name) <= longest:
        return name
    return f"{name[: longest - 9].rstrip('-')}-{_short_hash(name)}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
