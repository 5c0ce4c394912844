"""The generated release.sh and Makefile, run against stand-ins of aws, kubectl, docker and the clock."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.golden import CASES
from tests.program import gen
from tests.tools import need

COLORS = CASES / "new-colors" / "out"
_SPEC = """\
gen: 1
name: shop
account: "123456789012"
config: {GREETING: "it's $5", NOTE: "two\\nlines"}
rollout: {bake: 30s}
environments:
  stage: {config: {GREETING: "of stage"}, rollback: {automatic: false}}
  prod:
"""
_DIGEST = "sha256:" + "a" * 64
_OLD_DIGEST = "sha256:" + "b" * 64
# What the script may use besides aws and kubectl: nothing else is in its PATH.
_NEEDED = [
    "awk",
    "cat",
    "cp",
    "dirname",
    "echo",
    "env",
    "grep",
    "id",
    "make",
    "mktemp",
    "rm",
    "sed",
    "sh",
    "sort",
    "tr",
    "uname",
    "xargs",
]

# Time passes only in sleep. What the stand-ins say is in variables that a test may set.
_STAND_INS = {
    "date": 'case $* in +%s) cat "$STATE/clock" ;; *) echo 2026-11-24T03:00:00Z ;; esac',
    "sleep": 'now=$(cat "$STATE/clock"); echo $((now + $1)) > "$STATE/clock"',
    "docker": 'echo "docker $*" >> "$STATE/log"; exit "${DOCKER_FAILS-0}"',
    "aws": """
echo "aws $*" >> "$STATE/log"
case $* in
  *get-caller-identity*) [ -n "${CALLER-123456789012}" ] || exit 253; echo "${CALLER-123456789012}" ;;
  *describe-images*) [ -z "${NO_IMAGE-}" ] || { echo "$NO_IMAGE" >&2; exit 254; }; echo "$DIGEST" ;;
  *describe-target-health*) echo "${HEALTH-healthy healthy draining}" ;;
esac""",
    "kubectl": """
echo "kubectl $*" >> "$STATE/log"
case $* in
  *"config view"*) echo "${POINTS_TO-arn:aws:eks:us-east-2:123456789012:cluster/shop-prod-eks}" ;;
  *"get namespaces"*) [ -z "${UNREACHABLE-}" ] || exit 1; printf '%s\\n' "${NAMESPACES-shop-prod,shop,prod,gen}" ;;
  *last-applied-configuration*) [ -z "${BEFORE-1}" ] || echo '{"kind": "before"}---' ;;
  *view-last-applied*) echo '{"kind": "Deployment"}' ;;
  *"get deployment"*progressDeadline*) echo "60|1|3|${REFUSAL-}" ;;
  *"get deployment"*replicas*) [ -z "${BEFORE-1}" ] || echo 3 ;;
  *"get deployments"*) [ -z "${BEFORE-1}" ] || echo shop ;;
  *"get service"*) [ -z "${BEFORE-1}" ] || echo shop- ;;
  *"create configmap"*) [ -z "${HOLDER-}" ] || exit 1 ;;
  *"get configmap"*) echo "${HOLDER-}" ;;
  *"get deployment"*image*) echo "registry.example/shop@$OLD_DIGEST" ;;
  *"get deployment"*version*) echo v1; [ ! -e "$STATE/undone" ] || : > "$STATE/old" ;;
  *"get replicasets"*)
    printf '%s\\n' '7 1.10 r7 <none> shop' '9 v1 r9 <none> shop' '10 v3 r10 <none> shop' '8 v2 r8 unproven shop' '6 v1 r6 <none> shop'
    [ ! -e "$STATE/applied" ] || echo '11 v2 r11 <none> shop' ;;
  *"get replicaset "*template*) echo '{"metadata": {"labels": {"pod-template-hash": "x"}}}' ;;
  *"get replicaset "*) echo v1 ;;
  *"patch --local"*) echo '{"kind": "patched"}' ;;
  *"get targetgroupbindings"*) echo arn:group ;;
  *"get --raw"*)
    if [ -e "$STATE/old" ]; then ANSWER=v1; fi
    printf '{"name": "shop", "version": "%s"}\\n' "${ANSWER-v2}" ;;
  *"get pods"*)
    echo "<none>   0,1"
    # At first a pod of the release before is still on its way out.
    if [ -e "$STATE/watched" ]; then echo "<none>   ${RESTARTS-0}"; else echo "2026-11-23T00:00:00Z   7"; fi
    : > "$STATE/watched" ;;
  *dry-run*) exit "${REFUSES-0}" ;;
  *"apply --filename"*/before) : > "$STATE/undone" ;;
  *"apply --filename -"*) cat > "$STATE/patched" ;;
  *"apply --kustomize"*) : > "$STATE/applied"; exit "${APPLY_FAILS-0}" ;;
  *"rollout status"*) [ -z "${STUCK-}" ] || [ -e "$STATE/undone" ] ;;
esac""",
}


class Shop:
    """A generated project, and a PATH with nothing but the stand-ins and what the script needs."""

    def __init__(self, folder: Path, made: Path):
        self.project, self.bin, self._state = folder / "shop", folder / "bin", folder / "state"
        shutil.copytree(made, self.project)
        self.bin.mkdir()
        self._state.mkdir()
        (self._state / "clock").write_text("1000\n")
        (self._state / "log").touch()
        for name, script in _STAND_INS.items():
            (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
            (self.bin / name).chmod(0o755)
        for name in _NEEDED:
            (self.bin / name).symlink_to(need(name))
        self.seeded = self.record()

    def run(self, *words: str, stdin: str = "", **says: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.project,
            env={
                "PATH": str(self.bin),
                "STATE": str(self._state),
                "DIGEST": _DIGEST,
                "OLD_DIGEST": _OLD_DIGEST,
                "TMPDIR": str(self._state),
                **says,
            },
            input=stdin,
            capture_output=True,
            check=False,
            text=True,
            timeout=60,
        )

    def release(
        self, *words: str, stdin: str = "", **says: str
    ) -> subprocess.CompletedProcess[str]:
        return self.run("k8s/release.sh", *words, stdin=stdin, **says)

    def record(self, environment: str = "prod") -> str:
        return (self.project / "releases" / environment / "kustomization.yaml").read_text()

    def did(self, words: str) -> bool:
        return words in (self._state / "log").read_text()

    def did_nothing(self) -> bool:
        return (self._state / "log").read_text() == ""

    def undone(self) -> bool:
        """Whether what was applied before was applied again."""
        return (self._state / "undone").exists()

    def patched(self) -> str:
        """What was applied from standard input."""
        return (self._state / "patched").read_text()

    def waited(self) -> int:
        return int((self._state / "clock").read_text()) - 1000

    def left(self) -> list[str]:
        """What the script left in its folder for temporary files."""
        known = {"applied", "old", "clock", "log", "patched", "undone", "watched"}
        return [name for name in os.listdir(self._state) if name not in known]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "app.yaml").write_text(_SPEC)
    done = gen("new", "--spec", "app.yaml", "--dir", "shop", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "shop"


@pytest.fixture
def shop(tmp_path: Path, made: Path) -> Shop:
    return Shop(tmp_path, made)


def test_shellcheck(made: Path) -> None:
    """Nothing in the generated scripts is a finding of shellcheck."""
    done = subprocess.run(
        [need("shellcheck"), *made.glob("k8s/*.sh"), *COLORS.glob("k8s/*.sh")],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout


def test_deploy(shop: Shop) -> None:
    """A version that serves is recorded by its digest, after it was watched for the bake time."""
    done = shop.release("deploy", "prod", "v2")

    assert done.returncode == 0, done.stderr
    assert "v2 serves in prod; commit releases/prod/kustomization.yaml" in done.stdout
    assert shop.did("update-kubeconfig --region us-east-2 --name shop-prod-eks")
    assert shop.did("--namespace shop-prod apply --kustomize k8s/overlays/prod")
    assert f"digest: {_DIGEST}" in shop.record()
    assert 'app.kubernetes.io/version: "v2"' in shop.record()
    assert "newName: 123456789012.dkr.ecr.us-east-2.amazonaws.com/shop" in shop.record()
    assert not shop.undone()
    assert shop.waited() == 30
    assert shop.left() == []


def test_context(shop: Shop) -> None:
    """A context of the user's kubeconfig is taken instead of the cluster's name."""
    done = shop.release("deploy", "prod", "v2", KUBE_CONTEXT="mine")

    assert done.returncode == 0, done.stderr
    assert shop.did("kubectl --context mine --namespace shop-prod apply")
    assert not shop.did("update-kubeconfig")


@pytest.mark.parametrize(
    "says",
    [
        pytest.param({"STUCK": "1"}, id="stuck"),
        pytest.param({"ANSWER": "v1"}, id="answers as another version"),
        pytest.param({"ANSWER": "v2.1"}, id="answers as a longer version"),
        pytest.param({"HEALTH": "healthy unhealthy"}, id="unhealthy target"),
        pytest.param({"HEALTH": "initial healthy"}, id="a target that never becomes healthy"),
        pytest.param({"HEALTH": ""}, id="no target"),
        pytest.param({"RESTARTS": "1"}, id="restarts while it is watched"),
    ],
)
def test_goes_back(shop: Shop, says: dict[str, str]) -> None:
    """A version that does not serve is undone, record included, and the command fails."""
    done = shop.release("deploy", "prod", "v2", **says)

    assert done.returncode == 1
    assert "v2 failed in prod; the release before it serves again" in done.stderr
    assert shop.undone()
    assert shop.did("label replicaset r11 release=unproven")
    assert shop.record() == shop.seeded
    assert shop.left() == []


def test_first_release_fails(shop: Shop) -> None:
    """Where nothing ran before, there is nothing to go back to, and the message says so."""
    done = shop.release("deploy", "prod", "v2", STUCK="1", BEFORE="")

    assert done.returncode == 1
    assert "there is no release before it to go back to" in done.stderr
    assert not shop.undone()


def test_no_automatic_rollback(shop: Shop) -> None:
    """With rollback.automatic false the failed version stays, and its record with it."""
    done = shop.release("deploy", "stage", "v2", STUCK="1")

    assert done.returncode == 1
    assert "still is there: make rollback-container ENV=stage" in done.stderr
    assert not shop.undone()
    assert 'app.kubernetes.io/version: "v2"' in shop.record("stage")


def test_the_cluster_refuses(shop: Shop) -> None:
    """When the cluster would take none of it, nothing is applied and the record is what it was."""
    done = shop.release("deploy", "prod", "v2", REFUSES="1")

    assert done.returncode == 1
    assert "prod takes none of it, and nothing was changed" in done.stderr
    assert shop.record() == shop.seeded
    assert shop.did("apply --kustomize k8s/overlays/prod --dry-run=server")
    assert not shop.did("apply --kustomize k8s/overlays/prod\n")
    assert not shop.did("delete namespace")


def test_a_first_release_that_is_refused_leaves_no_namespace(shop: Shop) -> None:
    """What is only made to look at the rest goes again."""
    done = shop.release("deploy", "prod", "v2", REFUSES="1", NAMESPACES="")

    assert done.returncode == 1
    assert shop.did("apply --filename k8s/overlays/prod/namespace.yaml")
    assert shop.did("delete namespace shop-prod")


def test_apply_fails_half_way(shop: Shop) -> None:
    """When the cluster takes only a part, what was applied before is applied again."""
    done = shop.release("deploy", "prod", "v2", APPLY_FAILS="1")

    assert done.returncode == 1
    assert "the release before it serves again" in done.stderr
    assert shop.record() == shop.seeded
    assert shop.undone()


def test_no_pod_can_be_made(shop: Shop) -> None:
    """A quota that is used up ends the wait before the deadline, in the cluster's words."""
    done = shop.release("deploy", "prod", "v2", STUCK="1", REFUSAL="exceeded quota: small")

    assert done.returncode == 1
    assert "no pod can be made: exceeded quota: small" in done.stderr
    assert shop.undone()


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (
            {"UNREACHABLE": "1"},
            "the namespaces of the cluster shop-prod-eks cannot be read; if its API is private, go to where it can be reached from",
        ),
        (
            {"NAMESPACES": "shop-prod,,,"},
            "if it is yours all the same: kubectl label namespace shop-prod app=shop env=prod app.kubernetes.io/managed-by=gen",
        ),
        (
            {"NAMESPACES": "shop-prod,shop,stage,gen"},
            "if it is yours all the same: kubectl label namespace shop-prod app=shop env=prod app.kubernetes.io/managed-by=gen",
        ),
        (
            {
                "KUBE_CONTEXT": "mine",
                "POINTS_TO": "arn:aws:eks:us-east-2:123456789012:cluster/shop-stage-eks",
            },
            "the context mine points to the cluster shop-stage-eks; prod is the namespace shop-prod of the cluster shop-prod-eks",
        ),
        (
            {
                "KUBE_CONTEXT": "tunnel",
                "POINTS_TO": "tunnel",
                "NAMESPACES": "shop-stage,shop,stage,gen",
            },
            "the context tunnel points to the cluster of stage; prod is the namespace shop-prod of the cluster shop-prod-eks",
        ),
    ],
)
def test_wrong_place(shop: Shop, says: dict[str, str], message: str) -> None:
    """Another's cluster or namespace is refused, and nothing is touched."""
    done = shop.release("deploy", "prod", "v2", **says)

    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, message)
    assert not shop.did("apply")
    assert not shop.did("describe-images")
    assert shop.record() == shop.seeded


def test_promote(shop: Shop) -> None:
    """The image that one environment runs goes to the next by its digest, whatever its tag is now."""
    shop.release("deploy", "stage", "v2")
    done = shop.run("make", "promote-container", "ENV=prod", "FROM=stage")

    assert done.returncode == 0, done.stderr
    assert shop.did(
        f"describe-images --registry-id 123456789012 --region us-east-2 --repository-name shop --image-ids imageDigest={_DIGEST}"
    )
    assert shop.record("prod").splitlines()[2:] == shop.record("stage").splitlines()[2:]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["prod"], "say which environment has tried it: FROM=..."),
        (["prod", "prod"], "nothing is released in prod yet: make deploy-container ENV=prod"),
        (
            ["prod", "dev"],
            "there is no environment dev: releases/dev/kustomization.yaml is not there",
        ),
        (["prod", "stage"], "nothing is released in stage yet: make deploy-container ENV=stage"),
    ],
)
def test_promote_what(shop: Shop, words: list[str], says: str) -> None:
    """A slip in what is promoted gets one line, and nothing is run."""
    done = shop.release("promote", *words)

    assert (done.returncode, done.stderr) == (1, f"{says}\n")
    assert shop.did_nothing()


@pytest.mark.parametrize("version", ["v1/2", "-v1", "v1-", "v 1", "v" * 64])
def test_versions_that_are_no_labels(shop: Shop, version: str) -> None:
    """A version that no label can hold is refused before anything is run."""
    done = shop.release("deploy", "prod", version)

    assert done.returncode == 1
    assert "label" in done.stderr
    assert shop.did_nothing()


def test_no_image(shop: Shop) -> None:
    """A version that is not in the registry touches neither the cluster nor the record."""
    done = shop.release("deploy", "prod", "v2", NO_IMAGE="(ImageNotFoundException) no")

    assert done.returncode == 1
    assert done.stderr == (
        "the registry has no v2: build and push it (make build-container push-container), or take what "
        "runs elsewhere (make promote-container ENV=prod FROM=...)\n"
    )
    assert not shop.did("apply")
    assert shop.record() == shop.seeded


def test_registry_that_cannot_be_asked(shop: Shop) -> None:
    """Another failure than a missing image is said in its own words."""
    done = shop.release("deploy", "prod", "v2", NO_IMAGE="(AccessDenied) you may not")

    assert (done.returncode, done.stderr) == (
        1,
        "the registry cannot be asked: (AccessDenied) you may not\n",
    )


def test_one_at_a_time(shop: Shop) -> None:
    """While another release is under way nothing is begun, and its lock is left alone."""
    done = shop.release("deploy", "prod", "v2", HOLDER="ann on ci since noon, deploy prod v1")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "another release is under way in prod: ann on ci since noon, deploy prod v1",
        "if it is not any more: kubectl --namespace shop-prod delete configmap release-lock",
    ]
    assert not shop.did("delete configmap")
    assert not shop.did("apply")


def test_a_first_release_that_finds_a_lock_changes_no_record(shop: Shop) -> None:
    """However a release ends that does not stay, its record is what it was."""
    done = shop.release("deploy", "prod", "v2", HOLDER="ann", NAMESPACES="")

    assert "another release is under way" in done.stderr
    assert shop.record() == shop.seeded


def test_the_lock_goes_with_the_release(shop: Shop) -> None:
    """Whether it failed or not."""
    shop.release("deploy", "prod", "v2", STUCK="1")

    assert shop.did("delete configmap release-lock")


@pytest.mark.parametrize(
    ("caller", "says"),
    [
        (
            "999999999999",
            "prod is in the account 123456789012, but you are logged in to 999999999999",
        ),
        ("", "log in to AWS first: aws sso login, or aws configure"),
    ],
)
def test_account(shop: Shop, caller: str, says: str) -> None:
    """A wrong login, or none, ends it before anything else is asked."""
    done = shop.release("deploy", "prod", "v2", CALLER=caller)

    assert (done.returncode, done.stderr) == (1, f"{says}\n")
    assert not shop.did("kubectl")
    assert not shop.did("describe-images")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "usage: k8s/release.sh deploy|promote|rollback|destroy ENV [VERSION|FROM]"),
        (["depoly", "prod"], "there is no command depoly: deploy, promote, rollback or destroy"),
        (["deploy"], "say which environment: ENV=stage or ENV=prod"),
        (["deploy", "", "v2"], "say which environment: ENV=stage or ENV=prod"),
        (["rollback", "prd"], "there is no environment prd: ENV=stage or ENV=prod"),
        (["deploy", "prod"], "say which version: VERSION=..."),
        (["deploy", "prod", ""], "say which version: VERSION=..."),
    ],
)
def test_usage(shop: Shop, words: list[str], says: str) -> None:
    """A slip on the command line gets one line, and nothing is run."""
    done = shop.release(*words)

    assert (done.returncode, done.stderr) == (1, f"{says}\n")
    assert shop.did_nothing()


@pytest.mark.parametrize("tool", ["aws", "kubectl"])
def test_missing_tool(shop: Shop, tool: str) -> None:
    """A tool that is absent is named in one line, before anything is run."""
    (shop.bin / tool).unlink()
    done = shop.release("deploy", "prod", "v2")

    assert (done.returncode, done.stderr) == (1, f"this needs {tool}, which is not installed\n")
    assert shop.did_nothing()


def test_rollback(shop: Shop) -> None:
    """Without a version the release that served before comes back; what runs then is recorded."""
    done = shop.release("rollback", "prod", ANSWER="v1")

    assert done.returncode == 0, done.stderr
    assert shop.did("get replicaset r9")
    assert shop.patched() == '{"kind": "patched"}\n'
    assert "v1 serves in prod again; commit releases/prod/kustomization.yaml" in done.stdout
    assert f"digest: {_OLD_DIGEST}" in shop.record()
    assert "newName: registry.example/shop\n" in shop.record()
    assert 'app.kubernetes.io/version: "v1"' in shop.record()


def test_rollback_to(shop: Shop) -> None:
    """With a version it goes to the newest kept revision that has exactly this one."""
    done = shop.run("make", "rollback-container", "ENV=prod", "TO=1.10", ANSWER="v1")

    assert done.returncode == 0, done.stderr
    assert shop.did("get replicaset r7")


def test_rollback_to_what_is_gone(shop: Shop) -> None:
    """A version that is not kept is refused with those that are, but for one that failed."""
    done = shop.release("rollback", "prod", "1.1")

    assert (done.returncode, done.stderr) == (
        1,
        "prod keeps no release 1.1 to go back to, but: v1 1.10\n",
    )
    assert not shop.did("apply")
    assert shop.record() == shop.seeded


@pytest.mark.parametrize("answer", ["", "yes\n", "shop-stage\n"])
def test_destroy_asks(shop: Shop, answer: str) -> None:
    """Whatever is not the name of the namespace removes nothing."""
    done = shop.release("destroy", "prod", stdin=answer)

    assert done.returncode == 1
    assert done.stderr == "nothing was removed\n"
    assert not shop.did("delete ingress")
    assert not shop.did("delete --kustomize")


@pytest.mark.parametrize(("answer", "confirm"), [("shop-prod\n", ""), ("", "shop-prod")])
def test_destroy(shop: Shop, answer: str, confirm: str) -> None:
    """The name, typed or in CONFIRM, removes the balancer and then all of the environment."""
    done = shop.release("destroy", "prod", stdin=answer, CONFIRM=confirm)

    assert done.returncode == 0, done.stderr
    assert shop.did("delete ingress shop --ignore-not-found")
    assert shop.did("delete --kustomize k8s/overlays/prod --ignore-not-found")


def test_push_needs_a_login(shop: Shop) -> None:
    """Without AWS credentials a push says so in one line, and docker is not asked."""
    done = shop.run("make", "push-container", "VERSION=v2", CALLER="")

    said, make = done.stderr.splitlines()
    assert said == "this needs the AWS CLI, logged in: aws sso login, or aws configure"
    assert make.startswith("make: ***")
    assert not shop.did("docker")


def test_pin_needs_buildx(shop: Shop) -> None:
    """Without buildx `make pin` says so in one line and leaves the Dockerfile alone."""
    before = (shop.project / "Dockerfile").read_text()
    done = shop.run("make", "pin", DOCKER_FAILS="1")

    said, make = done.stderr.splitlines()
    assert said == "this needs docker buildx"
    assert make.startswith("make: ***")
    assert (shop.project / "Dockerfile").read_text() == before


def test_run_with_config(shop: Shop) -> None:
    """`make run` gives the app the config of the first environment, but for values of many lines."""
    (shop.bin / "node").write_text('#!/bin/sh\necho "$PORT $GREETING ${NOTE-none}"\n')
    (shop.bin / "node").chmod(0o755)
    done = shop.run("make", "--silent", "run", "VERSION=v2")

    assert (done.returncode, done.stdout) == (0, "8080 of stage none\n"), done.stderr
