"""HCL as data, with the line of every argument: what the checks of stacks compare."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from generator.check.artifacts import Unreadable, Value
from generator.tree import FileTree


class Expression(str):
    """What only an apply can evaluate, as it is written."""

    __slots__ = ()


class Stack(NamedTuple):
    """A file of HCL: its blocks by kind and labels, such as `module alb`, and its text."""

    file: str
    text: str
    blocks: dict[str, dict[str, Any]]

    def get(self, block: str, argument: str) -> Value | None:
        """What an argument of a block says; None where it is not there."""
        if argument not in self.blocks.get(block, {}):
            return None
        return Value(_said(self.blocks[block][argument]), self.file, self.line(block, argument))

    def line(self, block: str, argument: str = "") -> int:
        """The line of an argument, else of its block, else 0."""
        kind, *labels = block.split()
        named = "".join(f' +"?{re.escape(label)}"?' for label in labels)
        begin = re.search(rf"^{kind}{named} *\{{", self.text, re.MULTILINE)
        if begin is None:
            return 0
        inside = re.compile(rf"^ +{re.escape(argument)} *=", re.MULTILINE)
        found = inside.search(self.text, begin.end()) if argument else None
        return self.text.count("\n", 0, (found or begin).start()) + 1


def read(files: FileTree, path: str) -> Stack | Unreadable | None:
    """A file of HCL; None where it is not there."""
    there = files.find(path)
    if there is None:
        return None
    try:
        text = there.content.decode()
    except UnicodeDecodeError:
        return Unreadable(path, 0, "this is no text")
    found = _parsed(text)
    if isinstance(found, int):
        return Unreadable(path, found, "this is no HCL")
    return Stack(path, text, found)


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> dict[str, dict[str, Any]] | int:
    """The blocks of a text, which many checks ask for; the line at which it is no HCL."""
    # Only `gen check` reads HCL, and importing the grammar takes its time.
    import hcl2
    from lark.exceptions import LarkError

    try:
        return dict(_blocks(hcl2.loads(text)))
    except LarkError as error:
        return int(getattr(error, "line", 0))


def _blocks(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind, found in data.items():
        for block in found if isinstance(found, list) else ():
            yield from _labelled(kind, block)


def _labelled(words: str, block: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """A block with its labels; blocks of one name, such as several `locals`, as the last of them."""
    if not isinstance(block, dict):
        return
    if block.get("__is_block__"):
        yield words, block
        return
    for label, inner in block.items():
        yield from _labelled(f"{words} {_said(label)}", inner)


def _said(value: Any) -> Any:
    """The value of a literal; of anything else its text."""
    if isinstance(value, list):
        return [_said(item) for item in value]
    if isinstance(value, dict):
        return {
            str(_said(key)): _said(item)
            for key, item in value.items()
            if not str(key).startswith("__")
        }
    if not isinstance(value, str):
        return value
    if value.startswith('"') and not re.search(r"(?<![$%])[$%]\{", value):
        try:
            return json.loads(value).replace("$${", "${").replace("%%{", "%{")
        except ValueError:
            return Expression(value)
    return value if re.fullmatch(r"[A-Za-z0-9_-]+", value) else Expression(value)
