"""Artifacts as data, with the line of every value: what the checks compare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from generator.tree import FileTree, RelPath

Step = str | int


class Unreadable(Exception):  # noqa: N818 - a fact about a file, not an error of ours
    """A file that its own language cannot read."""

    def __init__(self, file: str, line: int, why: str):
        super().__init__(why)
        self.file, self.line, self.why = file, line, why


class Value(NamedTuple):
    """A value somewhere in an artifact."""

    value: Any
    file: str
    line: int


class Manifest(NamedTuple):
    """One YAML document of a file."""

    file: str
    data: Any

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", "")) if isinstance(self.data, dict) else ""

    def find(self, *path: Step) -> Iterator[Value]:
        """Every value at a path; `*` stands for each item of a list or mapping."""
        yield from _find(self.data, path, self.file, 1)

    def get(self, *path: Step) -> Any:
        """The first value at a path, or None."""
        return next((found.value for found in self.find(*path)), None)


def _find(node: Any, path: tuple[Step, ...], file: str, line: int) -> Iterator[Value]:
    if not path:
        yield Value(node, file, line)
        return
    head, rest = path[0], path[1:]
    if isinstance(node, CommentedMap):
        for key in node if head == "*" else ([head] if head in node else []):
            yield from _find(node[key], rest, file, node.lc.key(key)[0] + 1)
    elif isinstance(node, CommentedSeq):
        for index in (
            range(len(node)) if head == "*" else ([head] if head in range(len(node)) else [])
        ):
            yield from _find(node[index], rest, file, node.lc.item(index)[0] + 1)


def manifests(files: FileTree, folder: str) -> list[Manifest]:
    """All YAML documents below a folder.

    Raises:
        Unreadable: a file is no YAML.
    """
    found = []
    for path in files:
        if path.startswith(folder + "/") and path.endswith((".yaml", ".yml")):
            found += [Manifest(path, data) for data in _documents(files, path)]
    return found


def _documents(files: FileTree, path: RelPath) -> list[Any]:
    try:
        return [data for data in YAML().load_all(files.text(path)) if data is not None]
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise Unreadable(path, line, str(error.problem or "no YAML")) from None
    except UnicodeDecodeError:
        raise Unreadable(path, 0, "not UTF-8") from None


class Instruction(NamedTuple):
    """An instruction of a Dockerfile, continuation lines joined."""

    word: str
    text: str
    line: int

    def words(self) -> list[str]:
        """The exec form as its words, or the text split at blanks."""
        try:
            listed = json.loads(self.text)
        except ValueError:
            return self.text.split()
        return [str(word) for word in listed] if isinstance(listed, list) else [self.text]


def dockerfile(files: FileTree, path: str = "Dockerfile") -> list[Instruction]:
    """The instructions of a Dockerfile, in order; none where there is no such file."""
    if path not in files:
        return []
    found: list[Instruction] = []
    pending, start = "", 0
    for number, line in enumerate(files.text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        start = start if pending else number
        pending += line.strip().removesuffix("\\")
        if line.rstrip().endswith("\\"):
            continue
        word, _, text = pending.strip().partition(" ")
        found.append(Instruction(word.upper(), text.strip(), start))
        pending = ""
    return found


def last_stage(instructions: list[Instruction]) -> list[Instruction]:
    """The instructions that make the image: from the last FROM on."""
    starts = [index for index, one in enumerate(instructions) if one.word == "FROM"]
    return instructions[starts[-1] :] if starts else instructions


def pairs(text: str) -> dict[str, str]:
    """The `KEY=value` pairs of ENV or LABEL."""
    form = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S*)')
    return {key: re.sub(r"\\(.)", r"\1", value.strip('"')) for key, value in form.findall(text)}
