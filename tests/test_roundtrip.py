"""Whole projects of whatever strings a spec may hold, read back by the languages' own parsers."""

from __future__ import annotations

import ast
import datetime as dt
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import black
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from generator import generate
from generator.generate import Checked
from generator.render.quoting import as_yaml
from generator.tree import FileTree
from tests import tools
from tests.strings import LEGAL, LINE, NASTY, NASTY_LINES, dockerfile_word, samples

TODAY = dt.date(2026, 11, 23)

_ONE_LINE = LINE.filter(lambda text: not set(text) & {"\u2028", "\u2029"})
_VARIABLES = st.from_regex(r"V[A-Za-z0-9_]{0,12}", fullmatch=True) | st.sampled_from(
    ["on", "y", "no"]
)
_ENVIRONMENTS = st.from_regex(r"[a-z]([a-z0-9]{0,10})", fullmatch=True).filter(
    lambda name: name not in {"base", "shared", "con", "prn", "aux", "nul"}
)
_WORDS = st.sampled_from([*NASTY[1:60], "plain", "$PORT"]) | _ONE_LINE.filter(bool)

SPECS = st.fixed_dictionaries(
    {
        "gen": st.just(1),
        "name": st.from_regex(r"[a-z]([a-z0-9]-?){1,10}[a-z0-9]", fullmatch=True)
        | st.sampled_from(["no", "null", "true", "on", "e1"]),
        "owner": _ONE_LINE.map(lambda text: text[:100]),
        "description": _ONE_LINE.map(lambda text: text[:300]),
        "runtime": st.sampled_from([{"language": "nodejs"}, {"language": "python"}]),
        "config": st.dictionaries(_VARIABLES, LEGAL, max_size=4),
        "environments": st.dictionaries(
            _ENVIRONMENTS,
            st.fixed_dictionaries(
                {},
                optional={
                    "owner": _ONE_LINE.map(lambda text: text[:100]),
                    "config": st.dictionaries(_VARIABLES, LEGAL, max_size=2),
                },
            ),
            max_size=2,
        ),
    },
    optional={
        "app": st.fixed_dictionaries({"command": st.lists(_WORDS, min_size=1, max_size=4)}),
        "secrets": st.dictionaries(
            st.from_regex(r"S[A-Z0-9_]{0,12}", fullmatch=True),
            st.sampled_from([{"aws_secret": "a/b+c=d.e@f-g"}, {"aws_parameter": "/a/b.c-d"}]),
            max_size=2,
        ),
    },
)

_LABEL = re.compile("(?=.{0,63}$)(([A-Za-z0-9][A-Za-z0-9_.-]*)?[A-Za-z0-9])?")
"""The value of a label, as the API of Kubernetes wants it."""

_EACH = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def _project(spec: dict[str, Any]) -> tuple[Checked, FileTree]:
    checked = generate.load(as_yaml(spec).encode(), "app.yaml", TODAY)
    return checked, generate.files(checked)


class _Loader(yaml.SafeLoader):
    """YAML 1.1, with `=` as text."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: str(node.value))
# Ansible's own tag: text that it does not take for a template.
_Loader.add_constructor("!unsafe", lambda _, node: str(node.value))


def _reader() -> YAML:
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = type("Constructor", (reader.Constructor,), {})
    reader.constructor.add_constructor("!unsafe", lambda _, node: str(node.value))
    return reader


def _documents(files: FileTree) -> Iterator[tuple[str, Any]]:
    for path in files:
        if path.endswith((".yaml", ".yml")):
            text = files.text(path)
            found = [*_reader().load_all(text)]
            assert [*yaml.load_all(text, _Loader)] == found, path
            yield from ((path, document) for document in found)


@_EACH
@given(SPECS)
def test_yaml(spec: dict[str, Any]) -> None:
    """Every YAML file says the same to readers of 1.1 and 1.2, and labels and values are text."""
    _, files = _project(spec)
    documents = [*_documents(files)]

    assert documents
    for path, document in documents:
        for above in _every(document):
            for key in ("labels", "annotations", "matchLabels", "data", "pairs"):
                held = above.get(key)
                if isinstance(held, dict):
                    assert {type(value) for value in held.values()} <= {str}, (path, held)
                if isinstance(held, dict) and key in {"labels", "matchLabels", "pairs"}:
                    assert all(_LABEL.fullmatch(value) for value in held.values()), (path, held)


def _every(data: Any) -> Iterator[dict[str, Any]]:
    if isinstance(data, dict):
        yield data
        for value in data.values():
            yield from _every(value)
    elif isinstance(data, list):
        for value in data:
            yield from _every(value)


@_EACH
@given(SPECS)
def test_json(spec: dict[str, Any]) -> None:
    """Every JSON file can be read, and package.json has the description as it is."""
    checked, files = _project(spec)
    read = {path: json.loads(files.text(path)) for path in files if path.endswith(".json")}

    for path, data in read.items():
        if path.endswith("/package.json"):
            assert data["name"] == spec["name"]
            assert data["description"] == spec["description"] or not spec["description"]
    assert read or checked.project.base.app.command or spec["runtime"] == {"language": "python"}


@_EACH
@given(SPECS)
def test_python(spec: dict[str, Any]) -> None:
    """Every Python file can be read, as the first bytes of a file are read too."""
    _, files = _project(spec)

    for path in files:
        if path.endswith(".py"):
            ast.parse(files[path].content, path)


def test_python_style() -> None:
    """Black would not write a Python file of a project otherwise."""
    spec = {"gen": 1, "name": "sample-app", "runtime": {"language": "python"}}
    spec |= {"http": {"routes": ["GET /", "ANY /a/{b}", "$default"]}, "description": NASTY[6]}
    _, files = _project(spec)
    sources = {path: files.text(path) for path in files if path.endswith(".py")}

    assert sources
    for path, text in sources.items():
        assert black.format_str(text, mode=black.Mode()) == text, path


def test_javascript() -> None:
    """Every JavaScript file can be read by Node.js as the module it is."""
    node = tools.need("node")
    sources: list[str] = []

    @_EACH
    @given(SPECS)
    def collect(spec: dict[str, Any]) -> None:
        _, files = _project({**spec, "runtime": {"language": "nodejs"}})
        sources.extend(files.text(path) for path in files if path.endswith(".js"))

    collect()
    script = (
        "const vm = require('node:vm'); let text = '';"
        "process.stdin.on('data', (part) => { text += part; }).on('end', () => {"
        "for (const source of JSON.parse(text)) new vm.SourceTextModule(source); });"
    )
    done = subprocess.run(
        [str(node), "--experimental-vm-modules", "--no-warnings", "-e", script],
        input=json.dumps([*dict.fromkeys(sources)]),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )

    assert sources
    assert done.returncode == 0, done.stderr[-3000:]


@_EACH
@given(SPECS)
def test_dockerfile(spec: dict[str, Any]) -> None:
    """The image's labels have owner and description as they are, and it starts the command."""
    checked, files = _project(spec)
    text = files.text("Dockerfile")
    base = checked.project.base

    for key, value in (("description", base.description), ("vendor", base.owner)):
        (word,) = re.findall(rf"image\.{key}=(.*?)(?: \\)?$", text, re.MULTILINE)
        assert dockerfile_word(word) == (value or dockerfile_word(word))
    (command,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    if base.app.command:
        assert json.loads(command) == [*base.app.command]


def test_config_map(tmp_path: Path) -> None:
    """What kustomize makes of a project has every variable of each environment, as it is."""
    kubectl = tools.need("kubectl")
    texts = list(dict.fromkeys([*samples(LEGAL, 150), *NASTY_LINES]))
    half = len(texts) // 2
    base = {f"V{i}": text for i, text in enumerate(texts[:half])}
    over = {f"V{i + half - 20}": text for i, text in enumerate(texts[half:])}
    spec = {"gen": 1, "name": "sample-app", "config": base}
    _, files = _project({**spec, "environments": {"stage": {"config": over}, "prod": {}}})
    _write(tmp_path, files)

    for environment, wanted in (("prod", base), ("stage", {**base, **over})):
        overlay = str(tmp_path / "k8s/overlays" / environment)
        made = subprocess.run([str(kubectl), "kustomize", overlay], capture_output=True, check=True)
        documents = [*yaml.load_all(made.stdout, _Loader)]

        (config,) = (one for one in documents if one["kind"] == "ConfigMap")
        assert config["data"] == wanted


def test_make_run(tmp_path: Path) -> None:
    """`make run` starts the command with its words as they are."""
    words = [word for word in samples(_ONE_LINE, 60) if len(word) < 300]
    (tmp_path / "show").write_text("printf '%s\\0' \"$@\"\n")
    spec = {"gen": 1, "name": "sample-app", "app": {"command": ["sh", "../show", *words]}}
    _, files = _project(spec)
    _write(tmp_path, files)
    # What is up to date already, so that make installs nothing.
    for path in ("app/package.json", "app/package-lock.json"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("{}\n")
    (tmp_path / "app/node_modules").mkdir()

    done = subprocess.run(
        ["make", "--silent", "-C", str(tmp_path), "run", "VERSION=1"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env=tools.environment(),
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\0")[:-1] == words


def _write(folder: Path, files: FileTree) -> None:
    for path, file in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(file.content)
