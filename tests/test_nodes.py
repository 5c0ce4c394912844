"""How many nodes an app needs: what AWS publishes of a type, and that no node less would do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.targets.nodes import FEWEST, MIB, Room, needed, room


@pytest.mark.parametrize(
    ("instance_type", "pods"),
    # From eni-max-pods.txt of the EKS nodes' image, less the five that EKS runs on each.
    [
        ("t3.small", 11),
        ("t3.medium", 17),
        ("t3.large", 35),
        ("t4g.large", 35),
        ("m5.large", 29),
        ("m6g.medium", 8),
        ("m7i.large", 29),
        ("c6i.xlarge", 58),
        ("r6a.2xlarge", 58),
        ("c7g.4xlarge", 110),
    ],
)
def test_pods_of_a_type(instance_type: str, pods: int) -> None:
    found = room(instance_type)

    assert found
    assert found.pods + 5 == pods
    assert found.cpu > 0
    assert found.memory > 0


@pytest.mark.parametrize("instance_type", ["t2.micro", "t3.nano", "p5.48xlarge", "m4.large", "m5"])
def test_a_type_that_is_not_known(instance_type: str) -> None:
    assert room(instance_type) is None


@given(
    copies=st.integers(1, 500),
    cpu=st.integers(10, 1500),
    memory=st.integers(32 * MIB, 4000 * MIB),
)
def test_so_many_nodes_and_no_fewer(copies: int, cpu: int, memory: int) -> None:
    """Each copy has a node that has room for it; with one node less they would not all have, or what EKS runs."""
    node = room("m7i.large")
    assert node

    count = needed(node, copies, cpu, memory)

    assert _fit(node, count, copies, cpu, memory)
    assert count == FEWEST or not _fit(node, count - 1, copies, cpu, memory)


def _fit(node: Room, count: int, copies: int, cpu: int, memory: int) -> bool:
    """Copies one after the other onto the first node with room, then six small pods of EKS's own."""
    per_node = node.copies(cpu, memory)
    left = [
        count * node.pods - copies - 6,
        count * node.cpu - copies * cpu - 800,
        count * node.memory - copies * memory - 1024 * MIB,
    ]
    return count * per_node >= copies and min(left) >= 0
