"""AWS, as whose credentials are in use sees it, through boto3. Nothing here changes anything there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from generator.problems import MachineError, Problem
from generator.spec.load import SPEC

_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")
_UNKNOWN = (
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "InvalidSignatureException",
)
_MISSING = (
    "404",
    "InvalidVpcID.NotFound",
    "NoSuchBucket",
    "NoSuchResourceException",
    "ParameterNotFound",
)
_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


def caller_account(region: str) -> str:
    """The account whose credentials are in use.

    Raises:
        MachineError: no credentials, or AWS does not take them, or cannot be reached.
    """
    with Clients(region)("sts") as sts:
        return str(sts.get_caller_identity()["Account"])


class Clients:
    """Clients of one region, each made once: reading the model of a service takes its time."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._made: dict[str, Any] = {}
        self._session: Any = None

    @contextmanager
    def __call__(self, service: str) -> Iterator[Any]:
        """The client of a service; what goes wrong with it becomes a problem."""
        with _told(self.region):
            if service not in self._made:
                self._made[service] = self._make(service)
            yield self._made[service]

    def _make(self, service: str) -> Any:
        import boto3  # type: ignore[import-untyped]  # it has no types of its own
        from botocore.config import Config  # type: ignore[import-untyped]

        self._session = self._session or boto3.Session()
        patience = Config(
            connect_timeout=10,
            read_timeout=30,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        return self._session.client(service, region_name=self.region, config=patience)


@contextmanager
def _told(region: str) -> Iterator[None]:
    from botocore import exceptions  # type: ignore[import-untyped]

    try:
        yield
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
    if code in _MISSING or code.endswith((".NotFound", "NotFoundException")):
        return _problem("aws-not-found", f"{operation} finds nothing", "Name what is there.", said)
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
