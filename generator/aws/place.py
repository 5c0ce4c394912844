"""A region, asked: what AWS knows of what its environments name."""

from __future__ import annotations

from typing import Any, NamedTuple

from generator import aws
from generator.check import Finding
from generator.problems import MachineError
from generator.render.context import Context
from generator.spec.load import SPEC


class Place(NamedTuple):
    """A region, and the environments that are in it and in the account of the credentials."""

    context: Context
    clients: aws.Clients
    environments: tuple[Context, ...]

    @property
    def region(self) -> str:
        return self.clients.region

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:
        """Ask AWS; raises MachineError."""
        with self.clients(service) as client:
            answer: dict[str, Any] = getattr(client, operation)(**parameters)
        return answer

    def all(self, service: str, operation: str, key: str, **parameters: Any) -> list[Any]:
        """All pages of what AWS lists."""
        with self.clients(service) as client:
            pages = client.get_paginator(operation).paginate(**parameters)
            return [one for page in pages for one in page[key]]

    def has(self, service: str, operation: str, **parameters: Any) -> bool:
        """Whether AWS knows what the parameters name."""
        return self.look(service, operation, **parameters) is not None

    def look(self, service: str, operation: str, **parameters: Any) -> dict[str, Any] | None:
        """What AWS says of it; None where it does not know it."""
        try:
            return self.call(service, operation, **parameters)
        except MachineError as error:
            if error.problems[0].code == "aws-not-found":
                return None
            raise

    def with_target(self, target: str) -> tuple[Context, ...]:
        """The environments, where an approach is chosen."""
        return self.environments if target in self.context["targets"] else ()


def lack(rule: str, message: str, fix: str, field: str) -> Finding:
    """What is missing; about the spec, since that or the account has to change."""
    return Finding(rule, SPEC, 0, message, fix, field)
