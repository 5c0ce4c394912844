"""Amazon ECR: whose registry it is, and a login to it, through boto3.

The login stays in memory: it goes to the engine with the push and into no file.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from generator.problems import InputError, MachineError, Problem, Where
from generator.spec.load import SPEC

_HOST = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)"
    r"\.(amazonaws\.com(\.cn)?|on\.aws|on\.amazonwebservices\.com\.cn)"
)
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
)
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


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
    with _aws("sts", region) as sts:
        account = str(sts.get_caller_identity()["Account"])
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
    with _aws("ecr", region) as ecr:
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    username, _, password = base64.b64decode(token).decode().partition(":")
    return {"username": username, "password": password}


@contextmanager
def _aws(service: str, region: str) -> Iterator[Any]:
    """A client of a service; what goes wrong with it becomes a problem."""
    import boto3  # type: ignore[import-untyped]  # it has no types of its own
    from botocore import exceptions  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    patience = Config(
        connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3}
    )
    try:
        yield boto3.Session().client(service, region_name=region, config=patience)
    except exceptions.ClientError as error:
        answer = error.response.get("Error", {})
        raise _refused(
            str(answer.get("Code", "")), str(answer.get("Message", "")), error.operation_name
        ) from None
    except (
        exceptions.SSOError,
        exceptions.TokenRetrievalError,
        exceptions.LoginError,
    ) as error:
        raise _expired(str(error)) from None
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.ProfileNotFound,
    ) as error:
        raise _problem(
            "aws-no-credentials",
            "there are no AWS credentials",
            "Log in (aws sso login, or aws configure), or name a profile: AWS_PROFILE=….",
            str(error),
        ) from None
    except (exceptions.HTTPClientError, exceptions.ConnectionError) as error:
        raise _problem(
            "aws-unreachable",
            f"AWS cannot be reached in {region}",
            f"Check the network, and that region in {SPEC} is right.",
            str(error),
        ) from None
    except exceptions.BotoCoreError as error:
        raise _problem(
            "aws-settings",
            "the settings of AWS on this machine are in the way",
            "Mend them: aws sts get-caller-identity stumbles over the same.",
            str(error),
        ) from None


def _refused(code: str, message: str, operation: str) -> MachineError:
    said = f"{operation} said {code}: {message}"
    if code in _EXPIRED:
        return _expired(said)
    if code in _UNKNOWN:
        return _problem(
            "aws-bad-credentials",
            "AWS does not know these credentials",
            "Log in anew, or choose others: AWS_PROFILE=….",
            said,
        )
    if code in _DENIED:
        return _problem(
            "aws-denied",
            f"these AWS credentials may not do {operation}",
            "Use others (AWS_PROFILE=…), or have the right given to them.",
            said,
        )
    return _problem("aws-failed", f"AWS refused {operation}", "Run the command again later.", said)


def _expired(said: str) -> MachineError:
    return _problem(
        "aws-expired",
        "the AWS credentials have expired",
        "Log in again: aws sso login, or as you got them.",
        said,
    )


def _problem(code: str, summary: str, fix: str, said: str) -> MachineError:
    """A problem with AWS; says whose credentials were used, as far as that is known."""
    profile = os.environ.get("AWS_PROFILE")
    used = f" The profile is {profile}." if profile else ""
    return MachineError(Problem(code, summary, fix, said.strip().rstrip(".") + "." + used))
