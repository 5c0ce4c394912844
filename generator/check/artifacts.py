"""Artifacts as data, with the line of every value: what the checks compare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, SequenceNode

from generator.tree import FileTree

Step = str | int
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Value(NamedTuple):
    """A value somewhere in an artifact."""

    value: Any
    file: str
    line: int


class Unreadable(NamedTuple):
    """A file that its own language cannot read."""

    file: str
    line: int
    why: str


class Manifest(NamedTuple):
    """One YAML document of a file; `kind` and `name` are empty where it has none."""

    file: str
    node: Node
    kind: str
    name: str

    def find(self, *path: Step) -> Iterator[Value]:
        """Every value at a path; `*` stands for each item of a list or mapping, `name=app` for the
        items of a list that have this name."""
        for node, line in walk(self.node, path, self.node.start_mark.line + 1):
            yield Value(plain(node), self.file, line)

    def get(self, *path: Step) -> Any:
        """The first value at a path, or None."""
        return next((found.value for found in self.find(*path)), None)


def plain(node: Node, constructor: type[SafeConstructor] = SafeConstructor) -> Any:
    """What a node says; None for what YAML can write and the constructor refuses, such as other tags."""
    try:
        return constructor().construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None


def walk(node: Node, path: tuple[Step, ...], line: int) -> Iterator[tuple[Node, int]]:
    """Every node at a path below a node that begins in a line, each with its line."""
    if not path:
        yield node, line
        return
    head, rest = path[0], path[1:]
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if head in ("*", key.value):
                yield from walk(value, rest, key.start_mark.line + 1)
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            if head in ("*", index) or _has(item, head):
                yield from walk(item, rest, item.start_mark.line + 1)


def _has(item: Node, head: Step) -> bool:
    """Whether an item of a list is one that `key=value` means."""
    key, equals, text = str(head).partition("=")
    return bool(equals and isinstance(item, MappingNode)) and any(
        (name.value, value.value) == (key, text) for name, value in item.value
    )


def read_manifests(files: FileTree) -> tuple[tuple[Manifest, ...], tuple[Unreadable, ...]]:
    """All YAML documents of the folders that hold Kubernetes manifests, and the files that are none."""
    found: list[Manifest] = []
    broken: list[Unreadable] = []
    for path in files:
        if not path.startswith(("k8s/", "releases/")) or not path.endswith(".yaml"):
            continue
        try:
            nodes = yaml.compose_all(files.text(path), Loader=_LOADER)
            found += [_manifest(path, node) for node in nodes if node is not None]
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            broken.append(Unreadable(path, line, error.problem or "this is no YAML"))
        except (UnicodeDecodeError, yaml.YAMLError):
            broken.append(Unreadable(path, 0, "this is no text"))
    return tuple(found), tuple(broken)


def _manifest(path: str, node: Node) -> Manifest:
    nameless = Manifest(path, node, "", "")
    kind, name = nameless.get("kind"), nameless.get("metadata", "name")
    return nameless._replace(kind=str(kind or ""), name=str(name or ""))


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
