"""What Ansible's files say, with the line of every value: variables as a host has them, plays, tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from generator.check import Subject
from generator.check.artifacts import Step, Unreadable, Value, plain, walk
from generator.render.context import Context
from generator.tree import FileTree, RelPath

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
FOLDER = "ansible/"
_YAML = (".yml", ".yaml")


class Template(str):
    """Text that Ansible evaluates when it runs: what it says then, nobody knows here."""

    __slots__ = ()


def _text(constructor: SafeConstructor, node: ScalarNode) -> str:
    found = str(constructor.construct_scalar(node))
    return Template(found) if re.search(r"\{[{%#]", found) else found


def _unsafe(constructor: SafeConstructor, node: ScalarNode) -> str:
    """Text as it is, whatever stands in it."""
    return str(constructor.construct_scalar(node))


def _encrypted(constructor: SafeConstructor, node: ScalarNode) -> Template:
    return Template(constructor.construct_scalar(node))


class _Constructor(SafeConstructor):
    """YAML with the tags of Ansible."""

    yaml_constructors = {  # noqa: RUF012 - as PyYAML declares it
        **SafeConstructor.yaml_constructors,
        "tag:yaml.org,2002:str": _text,
        "!unsafe": _unsafe,
        "!vault": _encrypted,
    }


class Document(NamedTuple):
    """A file, or a part of one: a play, a task, the arguments of a module."""

    file: str
    node: Node

    @property
    def line(self) -> int:
        return int(self.node.start_mark.line) + 1

    def parts(self, *path: Step) -> Iterator[tuple[Document, int]]:
        """Every part at a path, with the line where it begins; `*` stands for each item or value."""
        for node, line in walk(self.node, path, self.line):
            yield Document(self.file, node), line

    def find(self, *path: Step) -> Iterator[Value]:
        """Every value at a path."""
        for part, line in self.parts(*path):
            yield Value(plain(part.node, _Constructor), self.file, line)

    def keys(self) -> Iterator[tuple[str, int]]:
        """The keys of a mapping, each with its line; none where it is none."""
        if isinstance(self.node, MappingNode):
            for key, _ in self.node.value:
                yield str(key.value), key.start_mark.line + 1

    def get(self, *path: Step) -> Any:
        """The first value at a path, or None."""
        return next((found.value for found in self.find(*path)), None)


# Every check reads the same files; their content alone decides what is in them.
@lru_cache(maxsize=1024)
def _composed(content: bytes) -> Node | Unreadable | None:
    try:
        return yaml.compose(content, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        return Unreadable("", line, error.problem or "this is no YAML")
    except (UnicodeDecodeError, yaml.YAMLError):
        return Unreadable("", 0, "this is no text")


def document(files: FileTree, path: str) -> Document | None:
    """A file as data; None where there is none, or nothing in it that can be read."""
    if path not in files:
        return None
    node = _composed(files[RelPath(path)].content)
    return None if node is None or isinstance(node, Unreadable) else Document(path, node)


def readable(files: FileTree, path: str) -> bool:
    """Whether a file is there and is YAML, even with nothing in it."""
    return path in files and not isinstance(_composed(files[RelPath(path)].content), Unreadable)


def unreadable(subject: Subject) -> Iterator[Unreadable]:
    """The files of Ansible that are no YAML."""
    for path, file in subject.files.items():
        if path.startswith(FOLDER) and path.endswith(_YAML) and serves(subject):
            node = _composed(file.content)
            if isinstance(node, Unreadable):
                yield node._replace(file=path)


def serves(subject: Subject) -> bool:
    """Whether the project is for servers at all: without that, what is in ansible/ is not ours."""
    return "server" in subject.context["targets"]


def made(subject: Subject) -> list[Context]:
    """The environments that have an inventory. Of one that has none yet, the drift is told."""
    return [
        environment
        for environment in subject.context["environments"]
        if serves(subject)
        and any(path.startswith(inventory(environment)) for path in subject.files)
    ]


def inventory(environment: Context) -> str:
    """The folder of an environment's inventory."""
    return f"{FOLDER}inventories/{environment['name']}/"


def cloud(subject: Subject, environment: Context) -> str | None:
    """The file that asks EC2 for the servers; None where somebody wrote them down instead."""
    path = f"{inventory(environment)}inventory.aws_ec2.yml"
    return path if path in subject.files else None


Variables = dict[str, Value]


def variables(subject: Subject, environment: Context, role: str, group: str) -> Variables:
    """The variables that a role has on the hosts of a group: of several places, the one that wins.

    Beside the playbooks is no file of gen's; what somebody puts there wins over the inventory.
    """
    places = (
        f"{FOLDER}roles/{role}/defaults/main",
        f"{inventory(environment)}group_vars/all",
        f"{FOLDER}group_vars/all",
        f"{inventory(environment)}group_vars/{group}",
        f"{FOLDER}group_vars/{group}",
        f"{FOLDER}roles/{role}/vars/main",
    )
    paths = [path for path in subject.files if path.startswith(FOLDER)]
    found: Variables = {}
    for place in places:
        for path in paths:
            if path.startswith(f"{place}/") or path in (f"{place}{end}" for end in ("", *_YAML)):
                found |= _variables(path, subject.files[path].content)
    return found


@lru_cache(maxsize=1024)
def _variables(path: str, content: bytes) -> Variables:
    node = _composed(content)
    if not isinstance(node, MappingNode):
        return {}
    return {
        str(key.value): Value(plain(value, _Constructor), path, key.start_mark.line + 1)
        for key, value in node.value
        if isinstance(key, ScalarNode)
    }


def key_lines(subject: Subject, file: str, name: str) -> dict[str, int]:
    """The keys of a mapping that is a variable of a file, each with its line."""
    there = document(subject.files, file)
    found: dict[str, int] = {}
    for part, _ in there.parts(name) if there else ():
        found |= dict(part.keys())
    return found


def app_group(subject: Subject) -> str:
    """The group of the app servers."""
    return f"{subject.context['role']}_instances"


def app_variables(subject: Subject, environment: Context) -> Variables:
    """The variables of the app's role on the app servers."""
    return variables(subject, environment, subject.context["role"], app_group(subject))


def nginx_variables(subject: Subject, environment: Context) -> Variables:
    """The variables of the role nginx on the balancers."""
    return variables(subject, environment, "nginx", "nginx_instances")


_NESTED = ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always")


def tasks(part: Document) -> Iterator[Document]:
    """All tasks of a file or play, in order, those in blocks too."""
    yield from _tasks(part, set())


def _tasks(part: Document, seen: set[int]) -> Iterator[Document]:
    if id(part.node) in seen:  # YAML can write a block that holds itself.
        return
    seen.add(id(part.node))
    if isinstance(part.node, SequenceNode):
        for item, _ in part.parts("*"):
            if isinstance(item.node, MappingNode):
                yield item
                yield from _tasks(item, seen)
    elif isinstance(part.node, MappingNode):
        for key, value in part.node.value:
            if key.value in _NESTED:
                yield from _tasks(Document(part.file, value), seen)


def calls(task: Document, *modules: str) -> Iterator[Document]:
    """The arguments of a task's module, if it is one of these; with or without its collection."""
    if isinstance(task.node, MappingNode):
        for key, value in task.node.value:
            if str(key.value).rpartition(".")[2] in modules:
                yield Document(task.file, value)


def whole(value: object) -> int | None:
    """A whole number, also where it is written as text; None for anything else."""
    form = re.fullmatch(r"[0-9]{1,9}", str(value))
    return int(form[0]) if form and not isinstance(value, bool) else None


def shown(value: object) -> str:
    """A value as a person would write it into one of these files; YAML can make a list hold itself."""
    try:
        return _shown(value)
    except RecursionError:
        return "a list without end"


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return str(value) or '""'
