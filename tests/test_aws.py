"""`gen check --aws` against moto: what an account lacks is told by the key of the spec behind it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]  # it has no types of its own
import pytest
from moto.servicequotas.models import ServiceQuotasBackend

from generator.aws.account import RULES
from generator.cli import main
from tests.live.eks import Clusters
from tests.live.stacks import ACCOUNT, moto
from tests.test_check import run

_SPEC = f"""\
gen: 1
name: ledger
account: "{ACCOUNT}"
state: {{s3_bucket: acme-state}}
secrets: {{API_TOKEN: {{aws_secret: ledger/api-token}}, PIN: {{aws_parameter: /ledger/pin}}}}
traffic: {{zone: example.com}}
container: {{nodes: managed}}
environments:
  stage: {{}}
  prod: {{traffic: {{hosts: {{vm: ledger.example.com}}}}}}
"""
_QUOTAS = {"L-1216C47A": 256, "L-F678F1CE": 10, "L-0263D0A3": 10}
_ONLY = [word for rule in RULES for word in ("--only", rule)]
_KEY = f"arn:aws:kms:us-east-2:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555"
_NETWORK = """\
network:
  vpc_id: vpc-0123456789abcdef0
  private_subnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
  public_subnets: [subnet-0123456789abcdef2]
"""
_CERTIFICATE = f"arn:aws:acm:us-east-2:{ACCOUNT}:certificate/11111111-2222-3333-4444-555555555555"

Client = Callable[[str], Any]


@pytest.fixture
def quotas() -> dict[str, int]:
    return dict(_QUOTAS)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, quotas: dict[str, int]) -> Iterator[Client]:
    """An account that has all that the spec asks for, and clients for it."""

    def quota(_: Any, service_code: str, quota_code: str) -> dict[str, Any]:
        return {"ServiceCode": service_code, "QuotaCode": quota_code, "Value": quotas[quota_code]}

    monkeypatch.setattr(ServiceQuotasBackend, "get_service_quota", quota)
    with moto(Clusters) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

        def client(service: str) -> Any:
            return boto3.client(service, region_name="us-east-2")

        client("secretsmanager").create_secret(Name="ledger/api-token", SecretString="x")
        client("ssm").put_parameter(Name="/ledger/pin", Value="x", Type="SecureString")
        client("route53").create_hosted_zone(Name="example.com", CallerReference="1")
        client("s3").create_bucket(
            Bucket="acme-state", CreateBucketConfiguration={"LocationConstraint": "us-east-2"}
        )
        yield client


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., tuple[int, Any]]:
    """Make a project of a spec, and ask what the account lacks of it."""

    def ask(spec: str = _SPEC) -> tuple[int, Any]:
        (tmp_path / "app.yaml").write_text(spec)
        code, made = run(tmp_path, "new", "--spec", "app.yaml", "--dir", "made")
        assert code == 0, made
        return run(tmp_path / "made", "check", "--aws", *_ONLY)

    return ask


@pytest.mark.usefixtures("client")
def test_an_account_that_lacks_nothing(ask: Callable[..., tuple[int, Any]]) -> None:
    """Every question gets an answer."""
    code, report = ask()

    assert report["findings"] == []
    assert {one["rule"]: one["status"] for one in report["checks"]} == dict.fromkeys(
        RULES, "passed"
    )
    assert code == 0


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("old", "new", "field", "said"),
    [
        ('account: "123456789012"', 'account: "210987654321"', "account", "belong to account"),
        ("acme-state", "other-state", "state.s3_bucket", "no bucket other-state"),
        ("aws_secret: ledger/", "aws_secret: other/", "secrets.API_TOKEN", "no secret other/api"),
        ("aws_parameter: /ledger", "aws_parameter: /other", "secrets.PIN", "no parameter /other"),
        (
            "aws_secret: ledger/api-token",
            f'aws_secret: ledger/api-token, kms_key: "{_KEY}"',
            "secrets.API_TOKEN",
            "there is no key arn:aws:kms",
        ),
        ("example.com", "example.org", "traffic.zone", "no public zone example.org"),
        ("{nodes: managed}", "{cluster: shared}", "container.cluster", "no cluster shared"),
        (
            "environments:",
            "vm: {instance_type: c5ad.large}\nenvironments:",
            "vm.instance_type",
            "c5ad.large is not offered in us-east-2",
        ),
        (
            "environments:",
            "scale: {max: 200}\nenvironments:",
            "scale.max",
            "and the account may have 256",
        ),
        (
            "container: {nodes: managed}\n",
            _NETWORK,
            "network.vpc_id",
            "us-east-2 has no vpc-0123456789abcdef0",
        ),
        (
            "traffic: {zone: example.com}",
            f"traffic: {{certificate_arn: {_CERTIFICATE}}}",
            "traffic.certificate_arn",
            "there is no certificate arn:aws:acm",
        ),
    ],
)
def test_what_an_account_lacks(
    ask: Callable[..., tuple[int, Any]], old: str, new: str, field: str, said: str
) -> None:
    """By the key of the spec, with what there is in its place."""
    assert old in _SPEC

    code, report = ask(_SPEC.replace(old, new))

    assert {one["field"] for one in report["findings"]} == {field}, report["findings"]
    assert all(said in one["message"] and one["fix"] for one in report["findings"])
    assert code == 1


def test_quotas(
    client: Client, quotas: dict[str, int], ask: Callable[..., tuple[int, Any]]
) -> None:
    """What is there already counts, but for what is the app's own."""
    quotas |= {"L-F678F1CE": 7, "L-0263D0A3": 5}
    ours = client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    client("ec2").create_tags(Resources=[ours], Tags=[{"Key": "app", "Value": "ledger"}])

    _, report = ask()

    said = [one["message"] for one in report["findings"]]
    # Two environments of three approaches, and moto's own VPC; five addresses are too few for the six.
    assert said == [
        "us-east-2: 6 Elastic IP addresses are needed, and the account may have 5",
    ]


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(("strategy", "needed"), [("rolling", None), ("blue_green", 360)])
def test_two_groups_are_twice_the_processors(
    ask: Callable[..., tuple[int, Any]], strategy: str, needed: int | None
) -> None:
    """While the one takes over from the other."""
    machines = f"targets: vm\nscale: {{max: 45}}\nrollout: {{strategy: {strategy}}}\nenvironments:"

    _, report = ask(_SPEC.replace("environments:", machines))

    said = [one["message"] for one in report["findings"]]
    assert bool(said) == bool(needed)
    assert all(f"{needed} processors of standard instances" in one for one in said)


def test_a_network_in_one_zone(client: Client, ask: Callable[..., tuple[int, Any]]) -> None:
    """Its subnets are in it, and in two zones at least."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone="us-east-2a")[
            "Subnet"
        ]["SubnetId"]
        for n in range(2)
    ]
    named = f"network: {{vpc_id: {vpc}, private_subnets: [{', '.join(subnets)}]}}\n"
    inside = _SPEC.replace("traffic: {zone: example.com}\n", "traffic: {public: false}\n" + named)
    inside = inside.replace("prod: {traffic: {hosts: {vm: ledger.example.com}}}", "prod: {}")

    _, report = ask(inside)

    assert {one["message"].partition(": ")[2] for one in report["findings"]} == {
        "private_subnets are all in us-east-2a"
    }


def test_a_certificate_for_another_name(
    client: Client, ask: Callable[..., tuple[int, Any]]
) -> None:
    acm = client("acm")
    arn = acm.request_certificate(DomainName="*.example.org", ValidationMethod="DNS")[
        "CertificateArn"
    ]

    _, report = ask(_SPEC.replace("{zone: example.com}", f"{{certificate_arn: {arn}}}"))

    said = " ".join(one["message"] for one in report["findings"])
    assert "the certificate is not for ledger.example.com, but for *.example.org" in said


@pytest.mark.usefixtures("client")
def test_an_environment_of_another_account(ask: Callable[..., tuple[int, Any]]) -> None:
    """Is not asked about, and that is said."""
    spec = _SPEC.replace("account:", "targets: container\naccount:", 1)
    spec = spec.replace("prod: {traffic: {hosts: {vm: ledger.example.com}}}", "prod: {}")
    _, report = ask(spec.replace("stage: {}", 'stage: {account: "210987654321"}'))

    assert report["findings"] == []
    (note,) = [one["note"] for one in report["checks"] if one["rule"] == "aws-account"]
    assert note == "not asked about stage, of another account"


def test_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A word, and what to do; no traceback."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "app.yaml").write_text(_SPEC)
    run(tmp_path, "new", "--spec", "app.yaml", "--dir", "made")
    told = io.StringIO()

    with contextlib.chdir(tmp_path / "made"), contextlib.redirect_stderr(told):
        code = main(["check", "--aws", *_ONLY])

    assert code == 3
    assert "there are no AWS credentials" in told.getvalue()
    assert "aws sso login" in told.getvalue()
