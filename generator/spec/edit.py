"""Edits of a spec's text that keep its comments, order and quotes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from generator.problems import InputError, Problem, Where
from generator.spec.parse import Path
from generator.spec.scalar import Scalar, is_plain, scalar


class Edit(NamedTuple):
    """A key to set, and the value as YAML text; `source` is the option it came from."""

    path: Path
    value: str
    source: str


def parse(assignment: str, option: str = "--set") -> Edit:
    """`key.below=value` as an edit.

    Raises:
        InputError: it has no key or no `=`.
    """
    key, equals, value = assignment.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise InputError(
            Problem(
                "bad-assignment",
                f"{assignment!r} is not key=value",
                "Write the key with dots, such as scale.max=20.",
                where=Where(option),
            )
        )
    return Edit(tuple(parts), value.strip(), f"{option} {assignment}")


def apply(text: str, edits: Sequence[Edit]) -> str:
    """The text with every edit made.

    Raises:
        InputError: a value is no YAML, or a key lies below something that is no section.
    """
    if not edits:
        return text
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 100_000
    data = yaml.load(text)
    for edit in edits:
        _set(data, edit)
    out = io.StringIO()
    yaml.dump(data, out)
    return out.getvalue()


def _set(data: Any, edit: Edit) -> None:
    from ruamel.yaml.comments import CommentedMap

    holder = data
    for part in edit.path[:-1]:
        if isinstance(holder, dict) and holder.get(part) is None:
            holder[part] = CommentedMap()
        holder = holder[part] if isinstance(holder, dict) else None
    if not isinstance(holder, dict):
        raise InputError(
            Problem(
                "not-a-section",
                f"{'.'.join(map(str, edit.path[:-1]))} holds no keys",
                "Set it as a whole.",
                where=Where(edit.source),
            )
        )
    holder[edit.path[-1]] = _value(edit)


def _value(edit: Edit) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    plain = scalar(edit.value)
    if edit.path[-2:-1] == ("config",) or edit.path[-1] in ("owner", "description"):
        return edit.value if plain == edit.value else DoubleQuotedScalarString(edit.value)
    if isinstance(plain, Scalar) and not is_plain(plain):
        return DoubleQuotedScalarString(edit.value)  # 3.10 on a command line means this text
    try:
        return YAML().load(edit.value) if edit.value else ""
    except YAMLError as error:
        raise InputError(
            Problem(
                "bad-value",
                f"the value of {'.'.join(map(str, edit.path))} cannot be read as YAML",
                "Quote it twice, once for the shell and once for YAML: --set 'key=\"value\"'.",
                str(error).split("\n")[0],
                Where(edit.source),
            )
        ) from None
