"""The units and words of the spec: what a value may look like, and what it becomes inside.

Each type is an `Annotated` alias: a validator that turns what the user wrote into a plain value in
base units, and the JSON Schema of what may be written. A validator raises `Wrong`, which carries
the reason and the way out; the loader adds file and line.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from generator.spec.scalar import Scalar, is_plain, reading


class Wrong(Exception):  # noqa: N818 - a fact about a value
    """A value that breaks a rule of the spec."""

    def __init__(self, code: str, summary: str, fix: str, detail: str = ""):
        super().__init__(summary)
        self.code, self.summary, self.fix, self.detail = code, summary, fix, detail


class Is(NamedTuple):
    """What a single value must be: a check that turns what the user wrote into the value inside or
    raises `Wrong`, and the JSON Schema of what may be written."""

    check: Callable[[object], Any]
    schema: dict[str, Any]


class Listed(NamedTuple):
    """A list of such values. With `one`, a single value stands for a list of it."""

    item: Is
    least: int = 0
    most: int = 1000
    one: bool = False


class Keyed(NamedTuple):
    """A mapping of the user's own names to values, or to sections (a dataclass of the model);
    `bare` is what is wrong where a value stands in place of such a section."""

    name: Is
    value: Is | type
    bare: Wrong | None = None


Kind = Is | Listed | Keyed | type
"""What a key may hold; a type is a section of the model."""


def shown(value: object) -> str:
    """A value as part of a message: short, on one line."""
    if isinstance(value, list | tuple | Mapping):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    text = str(value)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= 60 else text[:57] + "..."


def text_of(value: object) -> str:
    """The text of a scalar, where every YAML reader would give the same text.

    Raises:
        Wrong: a list or mapping, or a scalar like `3.10`, `no`, `1_000` that some read otherwise.
    """
    if isinstance(value, Scalar):
        if not is_plain(value):
            raise Wrong(
                "ambiguous-scalar",
                f"{shown(value)} without quotes is {reading(value)}, not this text",
                f'Write it in quotes: "{shown(value)}".',
            )
        return str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise Wrong(
        "not-text",
        f"expected one value, found {shown(value)}",
        "Write a single value here.",
    )


def pattern(
    code: str, regex: str, rule: str, suggest: Callable[[str], str] | None = None
) -> Callable[[object], str]:
    """A validator for text of one form; `rule` is the form in one line."""
    compiled = re.compile(regex)

    def check(value: object) -> str:
        text = text_of(value)
        if not compiled.fullmatch(text):
            better = suggest(text) if suggest else ""
            if not compiled.fullmatch(better):
                better = ""
            raise Wrong(
                code,
                f"{shown(text)!r} is not {rule}" if text else f"empty text is not {rule}",
                f"Try {better}." if better else f"Write {rule}.",
                _look_alike(text),
            )
        return text

    return check


def _look_alike(text: str) -> str:
    """Which letter of a text only looks like one that is legal."""
    odd = next((char for char in text if char.isalnum() and not char.isascii()), None)
    name = unicodedata.name(odd, "") if odd else ""
    return f"{odd} is no ASCII letter or digit: {name} (U+{ord(odd):04X})." if odd else ""


def dns_label(longest: int) -> Callable[[str], str]:
    """A suggestion: the nearest DNS label to some text, where it has one."""

    def suggest(text: str) -> str:
        text = unicodedata.normalize("NFKD", text)
        if any(char.isalnum() and not char.isascii() for char in text):
            return ""
        label = re.sub(r"[^a-z0-9]+", "-", re.sub("[\u0300-\u036f]", "", text).lower())
        return re.sub(r"^[^a-z]+", "", label)[:longest].strip("-")

    return suggest


def one_of(*words: str) -> Callable[[object], str]:
    """A validator for a closed list of words."""

    def check(value: object) -> str:
        text = text_of(value)
        if text not in words:
            raise Wrong(
                "not-one-of",
                f"{shown(text)!r} is not one of {', '.join(words)}",
                f"Did you mean {meant}?"
                if (meant := close(text, words))
                else f"Write {' or '.join(words)}.",
            )
        return text

    return check


_OTHER_NAMES = {
    "aarch64": "arm64",
    "amd64": "x86_64",
    "docker": "container",
    "ec2": "vm",
    "js": "nodejs",
    "k8s": "container",
    "kubernetes": "container",
    "lambda": "serverless",
    "node": "nodejs",
}


def close(word: str, words: Sequence[str]) -> str:
    """The word of a list that somebody meant, or nothing where none is close."""
    other = _OTHER_NAMES.get(word.lower())
    if other in words:
        return str(other)
    from difflib import get_close_matches

    return next(iter(get_close_matches(word.lower(), words, n=1, cutoff=0.6)), "")


def text(check: Callable[[object], str], **schema: Any) -> Is:
    return Is(check, {"type": "string", **schema})


def choice(*words: str) -> Is:
    return Is(one_of(*words), {"type": "string", "enum": list(words)})


def form(code: str, regex: str, rule: str, suggest: Callable[[str], str] | None = None) -> Is:
    return text(pattern(code, regex, rule, suggest), pattern=f"^{regex}$")


def version(regex: str, rule: str) -> Is:
    """A release line. An unquoted 24 is a number to an editor, and plain enough to be taken."""
    return Is(
        pattern("bad-version", regex, rule),
        {"type": ["string", "number"], "pattern": f"^{regex}$"},
    )


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    raise Wrong(
        "not-true-or-false", f"expected true or false, found {shown(value)}", "Write true or false."
    )


BOOL = Is(_boolean, {"type": "boolean"})
