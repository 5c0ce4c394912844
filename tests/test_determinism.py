"""Same spec, same bytes; and what that rests on: where the outer world may come in at all."""

from __future__ import annotations

import ast
import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jinja2 import nodes

from generator import generate
from generator.problems import InputError
from generator.render.context import context
from generator.render.engine import Compiled, Pack, Source, environment, render
from generator.render.packs import read_pack, shipped
from generator.render.quoting import FILTERS, Free
from tests.golden import CASES
from tests.program import ROOT, gen

TODAY = dt.date(2026, 11, 23)
FULL = CASES / "new-full"
_PLAIN = {"PATH": os.environ.get("PATH", os.defpath)}
_WORLDS = (
    {"PYTHONHASHSEED": "0"},
    {"PYTHONHASHSEED": "1", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONUTF8": "0"},
    {"PYTHONHASHSEED": "2", "TZ": "Pacific/Niue", "LANG": "tr_TR.UTF-8", "COLUMNS": "30"},
    {"PYTHONHASHSEED": "3", "XDG_CACHE_HOME": "cache", "SOURCE_DATE_EPOCH": "1780000000"},
    {"PYTHONHASHSEED": "4", "XDG_CACHE_HOME": "cache", "SOURCE_DATE_EPOCH": "1700000000"},
)


def _made(folder: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), os.access(path, os.X_OK))
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_same_project_everywhere(tmp_path: Path) -> None:
    """Hash seed, time zone, locale, day, working folder, umask and cache change no byte and no mode."""
    made = []
    for number, world in enumerate(_WORLDS):
        cwd = tmp_path / f"work {number}"
        cwd.mkdir()
        # The cache is empty for one run and filled for the next.
        cache = str(tmp_path / world["XDG_CACHE_HOME"]) if "XDG_CACHE_HOME" in world else ""
        before = os.umask((0o022, 0o077, 0o000, 0o027, 0o177 & 0o077)[number])
        try:
            done = gen(
                "new", "--spec", FULL / "app.yaml", "--dir", "out", cwd=cwd,
                environment={**_PLAIN, **world, "XDG_CACHE_HOME": cache},
            )  # fmt: skip
        finally:
            os.umask(before)
        assert done.returncode == 0, done.stderr
        made.append(_made(cwd / "out"))

    assert all(one == made[0] for one in made)
    assert len(made[0]) > 20


def test_same_problems_everywhere(tmp_path: Path) -> None:
    """The same mistakes are told in the same words and order under any hash seed."""
    said = set()
    for seed in ("0", "1", "2"):
        for case in ("bad-all-at-once", "bad-missing-keys"):
            done = gen(
                "new", "--spec", CASES / case / "app.yaml", "--dir", "out", cwd=tmp_path,
                environment={**_PLAIN, "PYTHONHASHSEED": seed},
            )  # fmt: skip
            said.add((case, done.stderr))

    assert len(said) == 2


# Where the outer world comes in. Everything else is a function from values to values.
_ALLOWED = {
    "__main__": {"terminal"},
    "aws": {"environment", "network"},
    "cli": {"terminal", "environment", "disk"},  # -C, GEN_DEBUG, a closed standard output
    "commands/__init__": {"clock", "environment"},  # today
    "commands/check": {"disk"},  # the working folder
    "commands/new": {"disk"},
    "commands/image": {"disk"},
    "console": {"terminal", "environment", "disk"},  # colours, width of the terminal
    "facts/__init__": {"package"},
    "image": {"disk", "environment", "process", "network"},
    "project": {"disk", "environment", "process"},
    "render/cache": {"disk", "environment"},
    "render/packs": {"disk"},
    "spec/load": {"disk"},
    "spec/schema": {"package"},
}
_IMPORTS = {
    "disk": {
        "shutil",
        "tempfile",
        "pathlib",
        "glob",
        "fcntl",
        "codecs",
        "sqlite3",
        "zipfile",
    },
    "process": {"subprocess", "multiprocessing", "pty", "signal", "ctypes"},
    "clock": {"time", "calendar", "zoneinfo"},
    "random": {"random", "secrets", "uuid"},
    "network": {"socket", "ssl", "urllib", "http", "boto3", "botocore", "docker", "requests"},
    "environment": {"locale", "getpass", "platform", "pwd"},
    "package": {"importlib.resources"},
}
_PURE_OS = {"PathLike", "fspath", "fsencode", "fsdecode", "sep", "devnull", "path"}
_PURE_OS_PATH = {"join", "basename", "dirname", "normpath", "isabs", "splitext"}


def _effects(module: Path) -> Iterator[str]:
    """What a module uses of the outer world, by what it imports and calls."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (kind for name in names for kind in _kinds(name.name))
            case ast.ImportFrom(module=str(name), level=0):
                yield from _kinds(name)
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "getenv" | "environb"):
                yield "environment"
            case ast.Attribute(value=ast.Name(id="os"), attr=name) if name not in _PURE_OS:
                yield "disk"
            case ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="os"), attr="path"), attr=name
            ):
                yield from () if name in _PURE_OS_PATH else ("disk",)
            case ast.Call(func=ast.Name(id="open")):
                yield "disk"
            case ast.Call(func=ast.Name(id="print" | "input")):
                yield "terminal"
            case ast.Call(func=ast.Attribute(attr="today" | "now" | "utcnow")):
                yield "clock"


def _kinds(imported: str) -> Iterator[str]:
    for kind, modules in _IMPORTS.items():
        if imported in modules or imported.split(".", maxsplit=1)[0] in modules:
            yield kind


def _allowed(module: str) -> set[str]:
    """What a module may use, by its own name or its room's."""
    return _ALLOWED.get(module) or _ALLOWED.get(module.split("/", maxsplit=1)[0]) or set()


_MODULES = sorted((ROOT / "generator").rglob("*.py"))


@pytest.mark.parametrize(
    "module", _MODULES, ids=[path.relative_to(ROOT / "generator").as_posix() for path in _MODULES]
)
def test_only_the_ends_touch_the_world(module: Path) -> None:
    """Disk, clock, environment, random, processes and network: only where the list says."""
    name = module.relative_to(ROOT / "generator").with_suffix("").as_posix()

    assert set(_effects(module)) <= _allowed(name)


def test_no_permission_is_left_over() -> None:
    """Every permission of the list is still needed."""
    used: dict[str, set[str]] = {name: set() for name in _ALLOWED}
    for module in _MODULES:
        name = module.relative_to(ROOT / "generator").with_suffix("").as_posix()
        key = name if name in _ALLOWED else name.split("/")[0]
        if key in used:
            used[key] |= set(_effects(module))

    assert used == _ALLOWED


_MARK = "\u2603"
_MARKED = f"""\
gen: 1
name: sample-app
owner: owner {_MARK}
description: description {_MARK}
app: {{command: [node, "{_MARK}"]}}
config: {{A: "a {_MARK}"}}
environments: {{stage: {{owner: "stage {_MARK}", config: {{B: "b {_MARK}"}}}}, prod: {{}}}}
"""


def _values() -> dict[str, Any]:
    checked = generate.load(_MARKED.encode(), "app.yaml", TODAY)
    return context(checked.project, checked.resolved)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(key)
            yield from _texts(below)
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below)
    else:
        assert value is None or isinstance(value, bool | int), value


def test_free_text_is_marked() -> None:
    """In what the templates see, every text that a user writes freely is marked as such."""
    marked = [text for text in _texts(_values()) if _MARK in text]

    assert len(marked) >= 8
    assert {type(text) for text in marked} == {Free}


@pytest.mark.parametrize(
    "template",
    [
        "[[ description ]]",
        "[% for item in environments[0].config %][[ item.value ]][% endfor %]",
        "[[ app.command[1] ]]",
        "[[ description | default('x') ]]",
        "[[ description if name else '' ]]",
    ],
)
def test_free_text_needs_a_filter(template: str) -> None:
    """A template that prints free text as it is does not render, and the problem names its line."""
    pack = Pack((Source("k8s/x.yaml.jinja", f"one\n{template}\n".encode()),))

    with pytest.raises(InputError) as caught:
        render(pack, _values(), Compiled())

    (problem,) = caught.value.problems
    assert str(problem.where) == "k8s/x.yaml.jinja:2"
    assert "quoting filter" in problem.summary


@pytest.mark.parametrize("name", FILTERS)
def test_filters_make_free_text_printable(name: str) -> None:
    """Each quoting filter is enough."""
    pack = Pack((Source("x.jinja", f"[[ description | {name} ]]\n".encode()),))

    assert _MARK in render(pack, _values(), Compiled()).text("x")


_FREE_NAMES = {"owner", "description", "command", "value"}


def _prints(template: str) -> Iterator[tuple[int, nodes.Expr]]:
    for output in environment().parse(template).find_all(nodes.Output):
        for expression in output.nodes:
            if not isinstance(expression, nodes.TemplateData):
                yield expression.lineno, expression


def _is_free(expression: nodes.Node) -> bool:
    names = {name.name for name in expression.find_all(nodes.Name)}
    names |= {part.attr for part in expression.find_all(nodes.Getattr)}
    if isinstance(expression, nodes.Name):
        names.add(expression.name)
    if isinstance(expression, nodes.Getattr):
        names.add(expression.attr)
    return bool(names & _FREE_NAMES)


def test_templates_quote_free_text_last() -> None:
    """In every template a quoting filter is the last thing that happens to free text: what a
    concatenation or another filter made of it is not marked any more."""
    printed = 0
    for source in read_pack(shipped()).sources:
        if source.path.endswith(".jinja"):
            for line, expression in _prints(source.content.decode()):
                if _is_free(expression):
                    printed += 1
                    assert isinstance(expression, nodes.Filter), f"{source.path}:{line}"
                    assert expression.name in FILTERS, f"{source.path}:{line}"

    assert printed >= 8
