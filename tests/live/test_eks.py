"""Clusters of the container approach: their stacks applied, changed and removed, with stand-ins for AWS.

moto knows what exists, tests/live/eks.py what EKS is told; no node runs and no add-on starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tofu
from tests.live.eks import Clusters
from tests.live.project import new_project
from tests.live.stacks import ACCOUNT, Stacks, moto

_SPEC = f"""\
gen: 1
name: sample-app
owner: "{{{{ owner }}}} ${{x}} \\"web\\""
targets: container
account: "{ACCOUNT}"
secrets: {{API_TOKEN: {{aws_secret: sample-app/api-token}}, PIN: {{aws_parameter: /sample-app/pin}}}}
environments:
  stage: {{}}
  prod: {{container: {{nodes: managed, api_cidrs: [203.0.113.0/24]}}, scale: {{min: 3, max: MOST}}}}
"""
_ADMIN = f"arn:aws:iam::{ACCOUNT}:role/platform"
_CI = f"arn:aws:iam::{ACCOUNT}:role/ci"


class Cloud(Stacks):
    """A project with two clusters, and what EKS was told."""

    eks: Clusters

    def made(self, operation: str, environment: str) -> list[dict[str, Any]]:
        """What was asked of an operation for the cluster of an environment."""
        names = {f"sample-app-{environment}-eks"}
        every = self.eks.made(operation)
        return [one for one in every if {one.get("name"), one.get("clusterName")} & names]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Each test finds what the one before has left."""
    held: list[Clusters] = []

    def around(app: Any) -> Clusters:
        held.append(Clusters(app))
        return held[0]

    with moto(around) as environment, tofu.provider(environment) as attached:
        folder = tmp_path_factory.mktemp("eks")
        project = new_project(folder, _SPEC.replace("MOST", "10"))
        cloud = Cloud(project, "tofu", {**environment, **attached})
        cloud.eks = held[0]
        cloud.client("secretsmanager").create_secret(
            Name="sample-app/api-token", SecretString="hush"
        )
        yield cloud


def test_stage_and_then_prod(cloud: Cloud) -> None:
    """Both are made whole; the second touches nothing of the first, and a second plan of either is empty."""
    (cloud.project / "tofu/live/stage/eks/terraform.tfvars").write_text(
        f'admin_arns = ["{_ADMIN}"]\ndeployer_arns = ["{_CI}"]\n'
    )
    for environment in ("stage", "prod"):
        done = cloud.make("create-cluster", f"ENV={environment}")
        assert done.returncode == 0, done.stderr

    assert cloud.client("eks").list_clusters()["clusters"] == [
        "sample-app-prod-eks",
        "sample-app-stage-eks",
    ]
    assert cloud.drift("stage/eks") == {}
    assert cloud.drift("prod/eks") == {}


def test_what_the_clusters_are(cloud: Cloud) -> None:
    """Auto Mode behind a private API in one environment; nodes that hold the copies in the other."""
    (stage,), (prod,) = (cloud.made("CreateCluster", one) for one in ("stage", "prod"))
    (group,) = cloud.made("CreateNodegroup", "prod")

    assert stage["computeConfig"]["enabled"]
    assert not stage["resourcesVpcConfig"]["endpointPublicAccess"]
    assert not stage["accessConfig"]["bootstrapClusterCreatorAdminPermissions"]
    assert len(set(stage["resourcesVpcConfig"]["subnetIds"])) == 3
    assert prod["resourcesVpcConfig"]["publicAccessCidrs"] == ["203.0.113.0/24"]
    assert prod["accessConfig"]["bootstrapClusterCreatorAdminPermissions"]
    assert group["scalingConfig"] == {"minSize": 3, "desiredSize": 3, "maxSize": 3}
    assert group["instanceTypes"] == ["t3.large"]
    assert not cloud.made("CreateNodegroup", "stage")
    addons = {
        one: {addon["addonName"] for addon in cloud.made("CreateAddon", one)}
        for one in ("stage", "prod")
    }
    assert addons["stage"] == {"aws-secrets-store-csi-driver-provider", "metrics-server"}
    assert addons["prod"] - addons["stage"] == {
        "coredns",
        "eks-pod-identity-agent",
        "kube-proxy",
        "vpc-cni",
    }
    tags = cloud.client("eks").describe_cluster(name="sample-app-prod-eks")["cluster"]["tags"]
    assert tags.keys() >= {"app", "env", "approach", "owner", "managed-by"}


def test_who_gets_in(cloud: Cloud) -> None:
    entries = cloud.made("AssociateAccessPolicy", "stage")

    assert {(one["principalArn"], one["accessScope"]["type"]) for one in entries} == {
        (_ADMIN, "cluster"),
        (_CI, "namespace"),
    }
    scope = next(one["accessScope"] for one in entries if one["principalArn"] == _CI)
    assert scope["namespaces"] == ["sample-app-stage"]
    assert not cloud.made("CreateAccessEntry", "prod")


@pytest.mark.parametrize("environment", ["stage", "prod"])
def test_what_pods_may_read(cloud: Cloud, environment: str) -> None:
    """The app's service account in its namespace, as the manifests have it: its secrets, and nothing else."""
    (pods,) = cloud.made("CreatePodIdentityAssociation", environment)
    overlay = cloud.project / f"k8s/overlays/{environment}"
    account = (cloud.project / "k8s/base/service-account.yaml").read_text()

    assert f"name: {pods['namespace']}" in (overlay / "namespace.yaml").read_text()
    assert f"name: {pods['serviceAccount']}" in account
    role = pods["roleArn"].rpartition("/")[2]
    policy = cloud.client("iam").get_role_policy(RoleName=role, PolicyName="read")["PolicyDocument"]
    secret = cloud.client("secretsmanager").describe_secret(SecretId="sample-app/api-token")["ARN"]
    assert [one["Resource"] for one in policy["Statement"]] == [
        [secret],
        [f"arn:aws:ssm:us-east-2:{ACCOUNT}:parameter/sample-app/pin"],
    ]


def test_a_changed_spec(cloud: Cloud, tmp_path: Path) -> None:
    """More copies are more nodes, and nothing else."""
    fresh = new_project(tmp_path, _SPEC.replace("MOST", "60"))
    main = "tofu/live/prod/eks/main.tf"
    (cloud.project / main).write_text((fresh / main).read_text())

    changes = cloud.drift("prod/eks")
    done = cloud.make("create-cluster", "ENV=prod")

    assert changes == {"module.eks.aws_eks_node_group.this[0]": ["scaling_config"]}
    assert done.returncode == 0, done.stderr
    (told,) = cloud.made("UpdateNodegroupConfig", "prod")
    assert told["scalingConfig"] == {"minSize": 11, "desiredSize": 11, "maxSize": 11}
    assert cloud.drift("stage/eks") == {}


def test_nodes_without_room(cloud: Cloud) -> None:
    """A number of nodes that somebody lowered by hand is refused before anything happens."""
    main = cloud.project / "tofu/live/prod/eks/main.tf"
    kept = main.read_text()
    main.write_text(kept.replace("= 11\n", "= 1\n"))

    said = tofu.run(
        "tofu", main.parent, "plan", "-input=false", env=cloud.environment, check=False
    ).stderr

    main.write_text(kept)
    assert "and 61 are needed" in " ".join(said.replace("│", "").split()), said


def test_they_go(cloud: Cloud) -> None:
    """All that was made goes, but for keys, which AWS keeps for a month."""
    for environment in ("stage", "prod"):
        done = cloud.make("destroy-cluster", f"ENV={environment}")
        assert done.returncode == 0, done.stderr

    assert cloud.client("eks").list_clusters()["clusters"] == []
    ours = {"Name": "tag:approach", "Values": ["container"]}
    assert cloud.client("ec2").describe_vpcs(Filters=[ours])["Vpcs"] == []
    roles = [one["RoleName"] for one in cloud.client("iam").list_roles()["Roles"]]
    assert not [name for name in roles if "-eks-" in name]
    logs = cloud.client("logs").describe_log_groups(logGroupNamePrefix="/aws/eks/")
    assert logs["logGroups"] == []
    states = {one["KeyState"] for one in _keys(cloud.client("kms"))}
    assert states == {"PendingDeletion"}
    for environment in ("stage", "prod"):
        state = cloud.project / f"tofu/live/{environment}/eks/terraform.tfstate"
        assert json.loads(state.read_text())["resources"] == []


def _keys(kms: Any) -> list[dict[str, Any]]:
    """The keys of the clusters."""
    every = [kms.describe_key(KeyId=one["KeyId"]) for one in kms.list_keys()["Keys"]]
    return [one["KeyMetadata"] for one in every if "-eks" in one["KeyMetadata"]["Description"]]
