"""The JSON Schema of the spec, made from the model and kept as a file beside it.

The file is what commands read, and what a project's editor completes from. `make golden` writes it
anew; a test holds it against the model.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from generator.spec.model import Key, Spec, keys
from generator.spec.types import Is, Keyed, Kind, Listed

Schema = dict[str, Any]


def text() -> str:
    """The schema as it is shipped."""
    return (files(__package__) / "schema.json").read_text("utf-8")


def build() -> str:
    """The schema as the model has it now."""
    schema = _section(Spec)
    schema["properties"]["environments"] = {
        "description": "each is a deep merge over the keys above",
        "type": ["object", "null"],
        "propertyNames": {"pattern": "^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$"},
        "additionalProperties": _nullable(_overlay(Spec)),
    }
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "app.yaml",
        "description": "An app, and how to run many copies of it",
        **schema,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _section(section: type) -> Schema:
    required = [name for name, one in keys(section).items() if one.required]
    return {
        "type": "object",
        **({"required": required} if required else {}),
        "properties": {
            name: _key(one) if one.required else _nullable(_key(one))
            for name, one in keys(section).items()
        },
        "additionalProperties": False,
    }


def _overlay(section: type) -> Schema:
    """A section as an environment may have it: nothing is required, no key is fixed at build time."""
    properties: Schema = {}
    for name, one in keys(section).items():
        below = _overlay(one.kind) if isinstance(one.kind, type) else _kind(one.kind)
        if not one.at_build and below.get("properties") != {}:
            properties[name] = _nullable({"description": one.doc, **below})
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _key(one: Key) -> Schema:
    note = "; fixed at build time" if one.at_build else ""
    return {"description": one.doc + note, **_kind(one.kind)}


def _kind(kind: Kind) -> Schema:
    if isinstance(kind, Is):
        return kind.schema
    if isinstance(kind, Listed):
        bounds = {"minItems": kind.least} if kind.least else {}
        array = {"type": "array", **bounds, "maxItems": kind.most, "items": kind.item.schema}
        return {"anyOf": [array, kind.item.schema]} if kind.one else array
    if isinstance(kind, Keyed):
        value = kind.value.schema if isinstance(kind.value, Is) else _section(kind.value)
        return {
            "type": "object",
            "propertyNames": kind.name.schema,
            "additionalProperties": _nullable(value),
        }
    return _section(kind)


def _nullable(schema: Schema) -> Schema:
    """Null means the default, or in an environment: take it away."""
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    nullable = {**schema, "type": [*kinds, "null"]}
    return {**nullable, "enum": [*schema["enum"], None]} if "enum" in schema else nullable
