"""What several approaches refuse, in the same words: a problem that two of them have is told once."""

from __future__ import annotations

from collections.abc import Iterator

from generator import facts
from generator.spec.model import Spec
from generator.spec.parse import Path
from generator.spec.rules import Broken

SYSTEMS = {"amazon_linux": "Amazon Linux 2023", "debian": "Debian 13"}

_TAKEN = frozenset(
    """
    all ansible localhost nginx nodejs-app python-app ungrouped
    aws nodejs
    agetty chrony credentials dbus initramfs lock log mount udev
    autovt basic bluetooth boot-complete capsule cloud-config cloud-init console-getty
    container-getty cryptsetup ctrl-alt-del default e2scrub emergency exit factory-reset final
    first-boot-complete getty getty-pre graphical halt hibernate hybrid-sleep initctl integritysetup
    kexec local-fs local-fs-pre lvm2-pvscan machines modprobe multi-user network network-online
    network-pre nss-lookup nss-user-lookup paths policy-routes poweroff printer quotaon reboot
    refresh-policy-routes remote-cryptsetup remote-fs remote-fs-pre remote-veritysetup rescue rpcbind
    serial-getty shutdown sigpwr sleep slices smartcard sockets soft-reboot sound ssh ssh-access sshd
    sshd-keygen suspend suspend-then-hibernate swap sysinit system-update system-update-pre time-set
    time-sync timers tpm2 umount usb-gadget user user-runtime-dir veritysetup veritysetup-pre
    """.split()  # noqa: SIM905 - as a list, a line a word
)
"""What is called so on a machine already: roles and groups of ours, folders of /opt and /run, units of
systemd."""


def names(spec: Spec) -> Iterator[Broken]:
    """A name that something on a machine has already."""
    taken = ("ansible-", "initrd-", "runlevel", "systemd-")
    if spec.name and (spec.name in _TAKEN or f"{spec.name}-".startswith(taken)):
        yield Broken(
            "reserved-name",
            ("name",),
            f"an app on servers or virtual machines cannot be called {spec.name}",
            f"Choose another name, such as {spec.name[:20]}-web.",
            detail="Its role and variables in Ansible, its folders and its units have that name, "
            "and Ansible, another role or the operating system uses it already.",
        )


def runtime(spec: Spec, system: str, chosen_by: Path) -> Iterator[Broken]:
    """A line of the language that an operating system does not have; a key has chosen the system."""
    language, version = spec.runtime.language, spec.runtime.version
    lines = facts.packaged(language, system)
    known = [line.version for line in facts.product(language).lines]
    if version in known and version not in lines:
        yield Broken(
            "runtime-not-offered",
            ("runtime", "version"),
            f"{SYSTEMS[system]} has no {facts.TITLES[language]} {version}",
            f"Choose {' or '.join(lines)}, or another {'.'.join(map(str, chosen_by))}.",
            (chosen_by,),
        )


def certificate(spec: Spec) -> Iterator[Broken]:
    """A certificate that a load balancer cannot use."""
    arn = spec.traffic.certificate_arn
    if arn and arn.split(":")[3] != spec.region:
        yield Broken(
            "certificate-elsewhere",
            ("traffic", "certificate_arn"),
            f"the certificate is in {arn.split(':')[3]}, the app in {spec.region}",
            f"Use a certificate of {spec.region}: a balancer takes those of its own region only.",
            (("region",),),
        )


def subnets(spec: Spec) -> Iterator[Broken]:
    """A public balancer in a network without public subnets."""
    network = spec.network
    if network and spec.traffic.public and not network.public_subnets:
        yield Broken(
            "no-public-subnets",
            ("network",),
            "network has no public_subnets, where a balancer that the internet reaches would be",
            "Add network.public_subnets, or set traffic.public to false.",
            (("traffic", "public"),),
        )


def stops_service(spec: Spec, strategies: tuple[str, ...]) -> Iterator[Broken]:
    """A rollout that may take the last copy away, by a strategy that takes copies away."""
    least, rollout = spec.scale.min, spec.rollout
    share = rollout.max_unavailable
    # A share of the copies that may be missing is rounded down, by Kubernetes and by EC2 Auto Scaling.
    away = least * int(share[:-1]) // 100 if share.endswith("%") else int(share)
    if rollout.strategy in strategies and away >= least:
        yield Broken(
            "rollout-stops-service",
            ("rollout", "max_unavailable"),
            f"a rollout may take every copy away at once (scale.min {least}, "
            f"rollout.max_unavailable {share}), which stops the service",
            "Set rollout.max_unavailable to 0 and rollout.max_surge to 1, or raise scale.min.",
            (("scale", "min"),),
        )
