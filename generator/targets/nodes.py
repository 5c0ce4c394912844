"""What a managed node holds, by its instance type: how many of them hold an app at full scale.

Of a processor and of memory a node keeps some for itself, as EKS reckons it; what EKS runs takes more. How many pods
there can be follows from network interfaces, as in the module eks-cluster, which asks once more.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT = {"x86_64": "t3.large", "arm64": "t4g.large"}
FEWEST = 3
"""One in each zone."""

GIB = 2**30
MIB = 2**20

_CORES = {"medium": 1, "large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16}
_GIB_A_CORE = {"c": 2, "m": 4, "r": 8}
# Network interfaces, and addresses of each.
_STEADY = {
    "medium": (2, 4),
    "large": (3, 10),
    "xlarge": (4, 15),
    "2xlarge": (4, 15),
    "4xlarge": (8, 30),
}
# Cores, GiB, interfaces and addresses.
_BURSTABLE = {
    "small": (2, 2, 3, 4),
    "medium": (2, 4, 3, 6),
    "large": (2, 8, 3, 12),
    "xlarge": (4, 16, 4, 15),
    "2xlarge": (8, 32, 4, 15),
}
_FAMILY = re.compile(r"(?:(t)(?:3|3a|4g)|([cmr])(?:[5-8][agi]?d?(?:-flex)?))\.([0-9a-z]+)")
_MOST_PODS = 110
"""EKS lets a node with fewer than 30 processors run no more."""

# On every node: network, proxy, identity agent, and driver and provider of the secrets; anywhere, two each of DNS,
# metrics server and load balancer controller. With what they ask for, rounded up.
_ON_A_NODE = (5, 300, 400 * MIB)
_IN_THE_CLUSTER = (6, 800, 1024 * MIB)


class Room(NamedTuple):
    """What the pods of an app may take: their number, millicores and bytes."""

    pods: int
    cpu: int
    memory: int

    def copies(self, cpu: int, memory: int) -> int:
        """How many copies of a size fit."""
        return max(0, min(self.pods, self.cpu // cpu, self.memory // memory))


def room(instance_type: str) -> Room | None:
    """What a node of a type has left for an app, or None where the type is not known here."""
    found = _FAMILY.fullmatch(instance_type)
    if not found:
        return None
    burstable, letter, size = found.groups()
    if burstable and size in _BURSTABLE:
        cores, gib, interfaces, addresses = _BURSTABLE[size]
    elif letter and size in _STEADY:
        cores = _CORES[size]
        gib = cores * _GIB_A_CORE[letter]
        interfaces, addresses = _STEADY[size]
    else:
        return None
    pods = min(_MOST_PODS, interfaces * (addresses - 1) + 2)
    taken_pods, taken_cpu, taken_memory = _ON_A_NODE
    # Of the first processor EKS keeps 6 %, of the second 1 %, of each further one half a percent or less. Of memory
    # 255 MiB and 11 for each pod that there can be, and 100 before it begins to evict.
    kept_cpu = 60 + (10 if cores > 1 else 0) + 5 * max(0, cores - 2)
    kept_memory = (255 + 11 * pods + 100) * MIB
    return Room(
        pods - taken_pods,
        1000 * cores - kept_cpu - taken_cpu,
        gib * GIB - kept_memory - taken_memory,
    )


def needed(node: Room, copies: int, cpu: int, memory: int) -> int:
    """How many such nodes hold so many copies, each of so many millicores and bytes; one fits on a node at least."""
    count = max(FEWEST, -(-copies // node.copies(cpu, memory)))
    pods, cores, bytes_ = _IN_THE_CLUSTER
    while (
        count * node.pods < copies + pods
        or count * node.cpu < copies * cpu + cores
        or count * node.memory < copies * memory + bytes_
    ):
        count += 1
    return count
