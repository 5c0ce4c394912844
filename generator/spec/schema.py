"""The JSON Schema of the spec, made from the model and kept as a file beside it.

The file is what commands read: building it needs the whole model twice over, and an editor wants it
at once. `make golden` writes it anew; a test holds it against the model.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def text() -> str:
    """The schema as it is shipped."""
    return (files(__package__) / "schema.json").read_text("utf-8")


def build() -> str:
    """The schema as the model has it now."""
    from pydantic.json_schema import GenerateJsonSchema

    from generator.spec.model import Spec

    class Generate(GenerateJsonSchema):
        """Defaults are left out where they stand in base units, which no spec writes."""

        def default_schema(self, schema: Any) -> dict[str, Any]:
            return self.generate_inner(schema["schema"])

    schema = Spec.model_json_schema(schema_generator=Generate)
    overlay = {
        "type": ["object", "null"],
        "description": "keys that differ in this environment",
        "properties": {
            key: value
            for key, value in schema["properties"].items()
            if value.get("x-fixed-at") != "build"
        },
        "additionalProperties": False,
    }
    schema["properties"]["environments"] = {
        "type": "object",
        "description": "each is a deep merge over the keys above",
        "propertyNames": {"pattern": "^[a-z]([a-z0-9-]{0,10}[a-z0-9])?$"},
        "additionalProperties": overlay,
    }
    schema["title"] = "app.yaml"
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    _nullable(schema["properties"].values())
    for definition in schema["$defs"].values():
        _nullable(definition["properties"].values())
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def _nullable(properties: Any) -> None:
    """Null means the default, everywhere."""
    for schema in properties:
        schema.pop("title", None)
        if "type" in schema and isinstance(schema["type"], str):
            schema["type"] = [schema["type"], "null"]
