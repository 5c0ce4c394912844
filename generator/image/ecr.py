"""Amazon ECR: whose registry it is, and a login to it, through boto3.

The login stays in memory: it goes to the engine with the push and into no file.
"""

from __future__ import annotations

import base64
import re
from typing import NamedTuple

from generator import aws
from generator.problems import InputError, Problem, Where
from generator.spec.load import SPEC

_HOST = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)"
    r"\.(amazonaws\.com(\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn)"
)


class Registry(NamedTuple):
    """The registry of an account in a region."""

    account: str
    region: str


def registry_of(host: str) -> Registry | None:
    """The ECR registry that a host is, if it is one."""
    found = _HOST.fullmatch(host)
    return Registry(found["account"], found["region"]) if found else None


def caller_account(region: str, wanted: str | None) -> str:
    """The account whose credentials are in use.

    Raises:
        InputError: it is not the `wanted` one.
        MachineError: no credentials, or AWS does not take them, or cannot be reached.
    """
    account = aws.caller_account(region)
    if wanted not in (None, account):
        raise InputError(
            Problem(
                "wrong-account",
                f"these AWS credentials belong to account {account}, the app to {wanted}",
                f"Use credentials of {wanted} (AWS_PROFILE=…), or change account in {SPEC}.",
                "Nothing was pushed.",
                Where(SPEC),
                "account",
            )
        )
    return account


def login(region: str) -> dict[str, str]:
    """User name and password for ECR, good for twelve hours, as the docker SDK takes them.

    Raises:
        MachineError: AWS does not give them.
    """
    with aws.Clients(region)("ecr") as ecr:
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    username, _, password = base64.b64decode(token).decode().partition(":")
    return {"username": username, "password": password}
