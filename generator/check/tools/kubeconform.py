"""kubeconform: what `kubectl kustomize` makes of each overlay, against the schemas of Kubernetes.

The schemas come from where kubeconform finds them by default, or from the folder that
GEN_KUBERNETES_SCHEMAS names: FOLDER/1.36/deployment-apps-v1.json and so on. Kinds of which no schema
is found (a CustomResourceDefinition's) are left out by kubeconform, as they must be anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from generator.check import Finding
from generator.check.tools import Answer, Crashed, Job, Step, Tool, Unavailable
from generator.check.tools.overlays import build, not_built, overlays
from generator.render.context import Context
from generator.tree import FileTree

SCHEMAS = "GEN_KUBERNETES_SCHEMAS"


def jobs(files: FileTree, context: Context) -> Iterator[Job]:
    for overlay, environment in overlays(files, context):
        version = environment["kubernetes"]
        location = f"${SCHEMAS}/{version}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
        call = (
            "kubeconform",
            "-strict",
            "-output=json",
            "-ignore-missing-schemas",
            f"-kubernetes-version={version}.0",
            f"-schema-location={location}",
        )
        yield Job(overlay, (build(overlay), Step(call, piped=True)))


def read(answer: Answer) -> Iterator[Finding]:
    if broken := not_built(answer):
        yield broken
        return
    try:
        resources = json.loads(answer.stdout)["resources"] or []
    except (ValueError, KeyError):
        raise Crashed(answer.stderr.strip() or f"exit {answer.code}") from None
    for item in resources:
        if "failed downloading schema" in item["msg"]:
            raise Unavailable(
                f"the schemas could not be fetched; {SCHEMAS}=FOLDER names a local copy"
            )
        if item["status"] in ("statusInvalid", "statusError"):
            yield Finding(
                "kubeconform",
                answer.label,
                0,
                f"{item['kind']} {item['name']}: {item['msg']}",
                "Write the manifest as the schema of this Kubernetes version asks.",
            )


TOOL = Tool(
    "kubeconform",
    "every overlay builds and fits the schemas of its Kubernetes version",
    ("kubectl", "kubeconform"),
    "kubectl: see kubernetes.io/docs/tasks/tools; kubeconform: see github.com/yannh/kubeconform",
    jobs,
    read,
)
