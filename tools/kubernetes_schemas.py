"""Turn published schemas into files that kubeconform reads without a network.

    python kubernetes_schemas.py OUT --crd FILE... --kubernetes VERSION...

Needs the packages kubernetes-validate (the schemas of Kubernetes) and PyYAML, which it brings.
Each version becomes a folder OUT/VERSION with one self-contained file for every kind, named as
kubeconform asks for it: {{ .ResourceKind }}{{ .KindSuffix }}.json.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]
_REFERENCE = re.compile(r".*#/\$defs/(.+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--crd", nargs="+", type=Path, default=[])
    parser.add_argument("--kubernetes", nargs="+", required=True)
    options = parser.parse_args()
    custom = dict(
        kind for file in options.crd for kind in custom_kinds(yaml.safe_load(file.read_text()))
    )
    for version in options.kubernetes:
        write(options.out / version, dict(kubernetes_kinds(version)) | custom)


def write(folder: Path, kinds: dict[str, Schema]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in kinds.items():
        (folder / name).write_text(json.dumps(schema, sort_keys=True) + "\n")


def kubernetes_kinds(version: str) -> Iterator[tuple[str, Schema]]:
    """Yield every kind of one Kubernetes version; unknown fields are errors in it."""
    source = _package_folder() / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    definitions: Schema = json.loads((source / "_definitions.json").read_text())["$defs"]
    for file in sorted(source.glob("*-*.json")):
        schema = json.loads(file.read_text())
        if {"apiVersion", "kind"} <= schema.get("properties", {}).keys():
            yield file.name, _standalone(schema, definitions)


def _package_folder() -> Path:
    spec = find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise SystemExit("the package kubernetes-validate is not installed")
    return Path(spec.origin).parent


def _standalone(schema: Schema, definitions: Schema) -> Schema:
    """Put the definitions that a schema reaches into the schema itself."""
    reached: Schema = {}
    pending = [schema]
    while pending:
        for name in _references(pending.pop()):
            if name not in reached:
                reached[name] = definitions[name]
                pending.append(definitions[name])
    whole: Schema = _local({**schema, "$defs": reached})
    return whole


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        target = node.get("$ref")
        if isinstance(target, str) and (found := _REFERENCE.fullmatch(target)):
            yield found[1]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _local(node: Any) -> Any:
    """Drop what points to the network: identities, and the file part of references."""
    if isinstance(node, list):
        return [_local(value) for value in node]
    if not isinstance(node, dict):
        return node
    kept = {
        key: _local(value)
        for key, value in node.items()
        if not (key in ("$id", "$schema") and isinstance(value, str))
    }
    if isinstance(kept.get("$ref"), str):
        kept["$ref"] = _REFERENCE.sub(r"#/$defs/\1", kept["$ref"])
    return kept


def custom_kinds(definition: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the kind that a CustomResourceDefinition adds, once for each of its versions."""
    spec = definition["spec"]
    kind, group = spec["names"]["kind"], spec["group"]
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["required"] = sorted({"apiVersion", "kind", "metadata", *schema.get("required", [])})
        schema["properties"]["apiVersion"] = {"const": f"{group}/{version['name']}"}
        schema["properties"]["kind"] = {"const": kind}
        yield f"{kind.lower()}-{group.split('.')[0]}-{version['name']}.json", schema


def _strict(node: Any) -> Any:
    """Forbid unknown fields wherever a schema names the known ones."""
    if isinstance(node, list):
        return [_strict(value) for value in node]
    if not isinstance(node, dict):
        return node
    strict = {key: _strict(value) for key, value in node.items()}
    open_ended = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if isinstance(node.get("properties"), dict) and node.get("type") == "object" and not open_ended:
        strict["additionalProperties"] = False
    return strict


if __name__ == "__main__":
    main()
