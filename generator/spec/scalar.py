"""What an unquoted scalar of YAML is: text, or something that only some readers take for text."""

from __future__ import annotations

import re
from typing import Self


class Scalar(str):
    """The text of an unquoted scalar that some YAML reader takes for something else than text.

    `kind` says for what: int, float, bool, date. Text that is text to every reader is a plain str.
    """

    __slots__ = ("kind",)
    kind: str

    def __new__(cls, text: str, kind: str) -> Self:
        scalar = super().__new__(cls, text)
        scalar.kind = kind
        return scalar


_AMBIGUOUS = re.compile(r"(?i:y|n|yes|no|on|off)")  # booleans for a YAML 1.1 reader
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")
_DATE = re.compile(r"\d{4}-\d\d?-\d\d?([Tt ].*)?")
_INT = re.compile(
    r"[-+]?(0o?[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+|[0-9][0-9_]*|[0-9][0-9_]*(:[0-5]?[0-9])+)"
)
_FLOAT = re.compile(
    r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)


def scalar(text: str) -> str | Scalar | None:
    """What an unquoted scalar is: None, text, or a `Scalar` with its kind."""
    if _NULL.fullmatch(text):
        return None
    for kind, pattern in (
        ("bool", _BOOL),
        ("bool", _AMBIGUOUS),
        ("int", _INT),
        ("float", _FLOAT),
        ("date", _DATE),
    ):
        if pattern.fullmatch(text):
            return Scalar(text, kind)
    return text


def is_plain(scalar: Scalar) -> bool:
    """Whether every YAML reader, and the person who wrote it, sees the same text."""
    if scalar.kind == "bool":
        return scalar in ("true", "false")
    if scalar.kind == "int":
        return re.fullmatch(r"-?(0|[1-9][0-9]*)", scalar) is not None
    if scalar.kind == "float":
        return (
            re.fullmatch(r"-?[0-9]+\.[0-9]+", scalar) is not None and repr(float(scalar)) == scalar
        )
    return False


def reading(scalar: Scalar) -> str:
    """What YAML takes a scalar for that is not plain, in words."""
    if scalar.kind == "bool":
        return "true or false to some YAML readers"
    if scalar.kind == "date":
        return "a date to YAML"
    try:
        number = int(scalar.replace("_", ""), 0) if scalar.kind == "int" else float(scalar)
    except ValueError:
        return "a number to some YAML readers"
    return f"the number {number} to YAML"
