"""The questions to an account, each of which only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from generator.aws.place import Place, lack
from generator.check import Finding
from generator.render.context import Context

_ZONES = 3
"""How many zones a network that is made has: the first of their sorted names."""

_WITHOUT_EKS = ("cac1-az3", "use1-az3", "usw1-az2")
"""Zones that the network leaves out."""

_VCPUS, _VPCS, _ADDRESSES = ("ec2", "L-1216C47A"), ("vpc", "L-F678F1CE"), ("ec2", "L-0263D0A3")
"""Quotas by service and code: processors of standard instances that run, VPCs, Elastic IPs."""

_SUPPORTED = "STANDARD_SUPPORT"


class Instances(NamedTuple):
    """Instances that an environment runs at most at one time."""

    environment: Context
    kind: str
    type: str
    number: int
    field: str


def _zones(place: Place) -> list[str]:
    """The zones in which a network is made."""
    return sorted(_standard_zones(place))[:_ZONES]


def _standard_zones(place: Place) -> list[str]:
    filters = [{"Name": "zone-type", "Values": ["availability-zone"]}]
    found = place.call("ec2", "describe_availability_zones", Filters=filters)
    zones = found["AvailabilityZones"]
    return [zone["ZoneName"] for zone in zones if zone.get("ZoneId") not in _WITHOUT_EKS]


def _makes_networks(place: Place) -> bool:
    return any(not one["network"] for one in place.environments)


def _region(place: Place) -> Iterator[Finding]:
    """The region is switched on, and has the zones of a network that is made."""
    found = place.look("ec2", "describe_regions", RegionNames=[place.region], AllRegions=True)
    regions = found["Regions"] if found else []
    if not regions or regions[0].get("OptInStatus") == "not-opted-in":
        fix = "Switch it on in the account (account:EnableRegion), or choose another."
        yield lack(
            "aws-region", f"{place.region} is not switched on in this account", fix, "region"
        )
    elif _makes_networks(place) and len(zones := _standard_zones(place)) < _ZONES:
        message = (
            f"{place.region} has {len(zones)} zones, and the network that is made spans {_ZONES}"
        )
        fix = "Choose another region, or name a network of yours."
        yield lack("aws-region", message, fix, "region")


def _instances(place: Place) -> Iterator[Instances]:
    for one in place.with_target("server"):
        server = one["server"]
        # Beside the app servers two balancers.
        yield Instances(
            one, "servers", server["instance_type"], server["count"] + 2, "server.instance_type"
        )
    for one in place.with_target("vm"):
        vm, most = one["vm"], one["scale"]["max"]
        colors = one["rollout"]["strategy"] == "blue_green"
        most = -(-most * (200 if colors else vm["max_healthy_percent"]) // 100)
        yield Instances(one, "virtual machines", vm["instance_type"], most, "vm.instance_type")
    for one in place.with_target("container"):
        if nodes := one["nodes"]:
            yield Instances(one, "nodes", nodes["type"], nodes["count"], "container.node_type")


def _instance_types(place: Place) -> Iterator[Finding]:
    """The types of instances are offered in every zone of the network."""
    for wanted in _instances(place):
        network = wanted.environment["network"]
        zones = _zones_of(place, network["private_subnets"]) if network else _zones(place)
        offers = place.all(
            "ec2",
            "describe_instance_type_offerings",
            "InstanceTypeOfferings",
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": [wanted.type]}],
        )
        missing = sorted(set(zones) - {offer["Location"] for offer in offers})
        if missing:
            message = f"{wanted.environment['name']}: {wanted.type} is not offered in {', '.join(missing)}"
            fix = "Choose another type; aws ec2 describe-instance-type-offerings lists them."
            yield lack("aws-instance-type", message, fix, wanted.field)


def _zones_of(place: Place, subnets: Iterable[str]) -> list[str]:
    wanted = [{"Name": "subnet-id", "Values": list(subnets)}]
    found = place.all("ec2", "describe_subnets", "Subnets", Filters=wanted)
    return [subnet["AvailabilityZone"] for subnet in found]


def _quotas(place: Place) -> Iterator[Finding]:
    """The account may run as much at once, and have as many networks."""
    instances = list(_instances(place))
    if instances:
        types = sorted({one.type for one in instances})
        told = place.all(
            "ec2",
            "describe_instance_types",
            "InstanceTypes",
            Filters=[{"Name": "instance-type", "Values": types}],
        )
        cores = {one["InstanceType"]: one["VCpuInfo"]["DefaultVCpus"] for one in told}
        needed = sum(cores.get(one.type, 0) * one.number for one in instances)
        yield from _within(
            place, _VCPUS, needed, "processors of standard instances at full scale", "scale.max"
        )
    made = sum(
        1
        for target in ("server", "vm", "container")
        for one in place.with_target(target)
        if not one["network"] and (target != "container" or one["own_cluster"])
    )
    if made:
        there = len(place.all("ec2", "describe_vpcs", "Vpcs"))
        names = [{"Name": "tag:app", "Values": [place.context["name"]]}]
        ours = len(place.all("ec2", "describe_vpcs", "Vpcs", Filters=names))
        yield from _within(place, _VPCS, there - ours + made, "VPCs", "network")
        addresses = place.call("ec2", "describe_addresses")["Addresses"]
        mine = place.call("ec2", "describe_addresses", Filters=names)["Addresses"]
        taken = len(addresses) - len(mine)
        yield from _within(place, _ADDRESSES, taken + made, "Elastic IP addresses", "network")


def _within(
    place: Place, quota: tuple[str, str], needed: int, what: str, field: str
) -> Iterator[Finding]:
    service, code = quota
    told = place.look("service-quotas", "get_service_quota", ServiceCode=service, QuotaCode=code)
    told = told or place.call(
        "service-quotas", "get_aws_default_service_quota", ServiceCode=service, QuotaCode=code
    )
    limit = int(told["Quota"]["Value"])
    if needed > limit:
        message = f"{place.region}: {needed} {what} are needed, and the account may have {limit}"
        fix = f"Have the quota {code} of {service} raised, or ask for less."
        yield lack("aws-quota", message, fix, field)


def _images(place: Place) -> Iterator[Finding]:
    """The operating system's images are there."""
    for one in place.with_target("server"):
        name = one["server"]["ami_parameter"]
        if not place.has("ssm", "get_parameter", Name=name):
            message = f"{one['name']}: {place.region} has no {one['server']['os_title']} ({name})"
            yield lack("aws-image", message, "Choose another server.os, or region.", "server.os")


def _clusters(place: Place) -> Iterator[Finding]:
    """The version of Kubernetes is offered; a cluster that is named is there, and of that version."""
    for one in place.with_target("container"):
        version = one["kubernetes"]
        if one["own_cluster"]:
            offered = {
                told["clusterVersion"]: told.get("versionStatus")
                for told in place.all("eks", "describe_cluster_versions", "clusterVersions")
            }
            if offered.get(version) != _SUPPORTED:
                standard = [key for key in sorted(offered) if offered[key] == _SUPPORTED]
                message = f"{one['name']}: EKS has no Kubernetes {version} in standard support"
                fix = f"Choose one of {', '.join(standard)}."
                yield lack("aws-eks", message, fix, "container.kubernetes")
            continue
        told = place.look("eks", "describe_cluster", name=one["cluster"])
        if told is None:
            message = f"{one['name']}: {place.region} has no cluster {one['cluster']}"
            fix = "Name one that is there, or none, to have one made."
            yield lack("aws-eks", message, fix, "container.cluster")
        elif told["cluster"]["version"] != version:
            message = f"{one['name']}: {one['cluster']} runs Kubernetes {told['cluster']['version']}, the spec says {version}"
            fix = "Say in the spec what it runs."
            yield lack("aws-eks", message, fix, "container.kubernetes")


def _hosts(one: Context, place: Place) -> list[str]:
    named = {"vm": one["vm"]["host"], "container": one["host"]}
    return [host for target, host in named.items() if host and place.with_target(target)]


def _certificates(place: Place) -> Iterator[Finding]:
    """The certificate is there, is valid, and is for the host names."""
    for one in place.environments:
        arn = one["certificate_arn"]
        if not arn or not (place.with_target("vm") or place.with_target("container")):
            continue
        told = place.look("acm", "describe_certificate", CertificateArn=arn)
        if told is None:
            message = f"{one['name']}: there is no certificate {arn}"
            yield lack(
                "aws-certificate", message, "Name one that is there.", "traffic.certificate_arn"
            )
            continue
        found = told["Certificate"]
        if found["Status"] != "ISSUED":
            message = f"{one['name']}: the certificate is {found['Status']}, not ISSUED"
            fix = "Validate it, or name another."
            yield lack("aws-certificate", message, fix, "traffic.certificate_arn")
        names = {found["DomainName"], *found.get("SubjectAlternativeNames", ())}
        for host in _hosts(one, place):
            if not {host, f"*.{host.partition('.')[2]}"} & names:
                message = f"{one['name']}: the certificate is not for {host}, but for {', '.join(sorted(names))}"
                yield lack(
                    "aws-certificate", message, "Name one that is.", "traffic.certificate_arn"
                )


def _domains(place: Place) -> Iterator[Finding]:
    """The zone in which names are made is hosted here."""
    for zone in {one["vm"]["zone"] for one in place.with_target("vm")} - {None}:
        told = place.call("route53", "list_hosted_zones_by_name", DNSName=zone, MaxItems="1")
        names = [one["Name"] for one in told["HostedZones"] if not one["Config"].get("PrivateZone")]
        if f"{zone}." not in names:
            message = f"Route 53 has no public zone {zone} in this account"
            fix = "Create it and delegate to it, or set traffic.certificate_arn in place of zone."
            yield lack("aws-dns", message, fix, "traffic.zone")


def _secrets(place: Place) -> Iterator[Finding]:
    """What the spec refers to is there; no value is read."""
    for one in place.environments:
        for secret in one["secrets"]:
            name, field = secret["reference"], f"secrets.{secret['name']}"
            if secret["store"] == "secretsmanager":
                there = place.has("secretsmanager", "describe_secret", SecretId=name)
            else:
                named = [{"Key": "Name", "Option": "Equals", "Values": [name]}]
                there = bool(
                    place.all("ssm", "describe_parameters", "Parameters", ParameterFilters=named)
                )
            if not there:
                kind = "secret" if secret["store"] == "secretsmanager" else "parameter"
                message = f"{one['name']}: {place.region} has no {kind} {name}"
                yield lack("aws-secret", message, "Create it, or name another.", field)
            key = secret["kms_key"]
            if key and not place.has("kms", "describe_key", KeyId=key):
                message = f"{one['name']}: there is no key {key}"
                yield lack("aws-secret", message, "Name the key that encrypts it.", field)


def _networks(place: Place) -> Iterator[Finding]:
    """A network that is named is there: its subnets lie in it, and in two zones at least."""
    for one in place.environments:
        network = one["network"]
        if not network:
            continue
        if not place.has("ec2", "describe_vpcs", VpcIds=[network["vpc_id"]]):
            message = f"{one['name']}: {place.region} has no {network['vpc_id']}"
            yield lack("aws-network", message, "Name a VPC of this region.", "network.vpc_id")
            continue
        for key in ("private_subnets", "public_subnets"):
            if network[key]:
                yield from _subnets(place, one, network["vpc_id"], key)


def _subnets(place: Place, one: Context, vpc: str, key: str) -> Iterator[Finding]:
    wanted = one["network"][key]
    ids = [{"Name": "subnet-id", "Values": wanted}]
    found = place.all("ec2", "describe_subnets", "Subnets", Filters=ids)
    mine = {subnet["SubnetId"]: subnet for subnet in found if subnet["VpcId"] == vpc}
    missing = [ident for ident in wanted if ident not in mine]
    field = f"network.{key}"
    if missing:
        message = f"{one['name']}: {vpc} has no {', '.join(missing)}"
        yield lack("aws-network", message, "Name subnets of this VPC.", field)
        return
    zones = {subnet["AvailabilityZone"] for subnet in mine.values()}
    if len(zones) < 2:
        message = f"{one['name']}: {key} are all in {', '.join(zones)}"
        yield lack("aws-network", message, "Name subnets of two zones or more.", field)


def _state(place: Place) -> Iterator[Finding]:
    """The bucket of the state is there."""
    state = place.context["state"]
    if state and not place.has("s3", "head_bucket", Bucket=state["bucket"]):
        message = f"there is no bucket {state['bucket']}"
        fix = "Create it, with versions and encryption, before the first apply."
        yield lack("aws-state", message, fix, "state.s3_bucket")


QUESTIONS: tuple[tuple[str, str, Callable[[Place], Iterable[Finding]]], ...] = (
    ("aws-region", "regions are switched on and have the zones", _region),
    ("aws-network", "networks that are named are there", _networks),
    ("aws-instance-type", "instance types are offered in the zones", _instance_types),
    ("aws-quota", "quotas are large enough", _quotas),
    ("aws-image", "images of the operating system are there", _images),
    ("aws-eks", "EKS offers the version of Kubernetes", _clusters),
    ("aws-certificate", "certificates are valid and for the hosts", _certificates),
    ("aws-dns", "DNS zones are hosted in the account", _domains),
    ("aws-secret", "secrets are where the spec says", _secrets),
    ("aws-state", "the bucket of the state is there", _state),
)
