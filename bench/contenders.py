"""What gen is measured against: the same files by other means."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

from generator import generate
from generator.cli import main
from generator.project.new import Wish, new
from generator.render.context import context
from generator.render.engine import Compiled, environment
from generator.render.engine import render as render_pack
from generator.render.packs import read_pack, shipped

TODAY = dt.date(2026, 11, 23)


class Made(NamedTuple):
    """Inputs for the peers, all giving the tree in `tree`."""

    tree: Path
    files: int
    answers: Path
    template: Path

    def copier(self, bin_folder: Path, out: Path) -> list[str]:
        return [
            str(bin_folder / "copier"), "copy", "--quiet", "--defaults", "--trust",
            "--data-file", str(self.answers), str(shipped()), str(out),
        ]  # fmt: skip

    def cookiecutter(self, bin_folder: Path, out: Path) -> list[str]:
        return [
            str(bin_folder / "cookiecutter"), "--no-input", "--output-dir", str(out), str(self.template),
        ]  # fmt: skip


def prepare(scratch: Path) -> Made:
    """Make one project with gen, and from it the inputs of the peers."""
    project = scratch / "sample-app"
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["new", "sample-app", "--targets", "all", "--dir", str(project)]) == 0
    checked = generate.load((project / "app.yaml").read_bytes(), "app.yaml", TODAY)
    answers = scratch / "answers.yml"
    answers.write_text(json.dumps(context(checked.project, checked.resolved)))
    shutil.rmtree(project / ".gen")
    (project / "app.yaml").unlink()
    count = sum(file.is_file() for file in project.rglob("*"))
    return Made(project, count, answers, _cookiecutter(project, scratch / "cookiecutter"))


def _cookiecutter(tree: Path, template: Path) -> Path:
    """The tree as a cookiecutter template: the app's name is its one variable."""
    body = template / "{{cookiecutter.name}}"
    for file in tree.rglob("*"):
        if not file.is_file():
            continue
        copy = body / file.relative_to(tree)
        copy.parent.mkdir(parents=True, exist_ok=True)
        parts = file.read_text().split("sample-app")
        raw = [f"{{% raw %}}{part}{{% endraw %}}" for part in parts]
        copy.write_text("{{ cookiecutter.name }}".join(raw))
    (template / "cookiecutter.json").write_text(json.dumps({"name": "sample-app"}))
    return template


class Hundred(NamedTuple):
    """Median wall seconds of 100 apps in one process."""

    gen_s: float
    jinja_s: float

    @property
    def ratio(self) -> float:
        return self.gen_s / self.jinja_s


def hundred(scratch: Path, rounds: int = 5) -> Hundred:
    """100 apps by gen (spec, checks, lock, stored bases, all on disk), and by a loop over its templates
    that renders and writes them, and nothing else."""
    scratch.mkdir()
    gen, jinja = [], []
    for turn in range(rounds + 1):
        times = _gen(scratch / "gen"), _jinja(scratch / "jinja")
        if turn:
            gen.append(times[0])
            jinja.append(times[1])
    return Hundred(statistics.median(gen), statistics.median(jinja))


def _gen(folder: Path) -> float:
    began = time.perf_counter()
    for number in range(100):
        new(Wish(f"app-{number}", None, ("all",), None, (), folder / f"app-{number}"), TODAY)
    took = time.perf_counter() - began
    shutil.rmtree(folder)
    return took


def _jinja(folder: Path) -> float:
    spec = b"gen: 1\nname: sample-app\nenvironments: {stage: {}, prod: {}}\n"
    checked = generate.load(spec, "app.yaml", TODAY)
    values = context(checked.project, checked.resolved)
    sources = _flat(values)
    began = time.perf_counter()
    env = environment()
    templates = [(path, env.from_string(text), scope) for path, text, scope in sources]
    for number in range(100):
        for path, template, scope in templates:
            file = folder / f"app-{number}" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(template.render({**scope, "name": f"app-{number}"}))
    took = time.perf_counter() - began
    shutil.rmtree(folder)
    return took


def _flat(values: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """The templates that this context uses: output path, text, values."""
    pack = read_pack(shipped())
    texts = {source.path: source.content.decode() for source in pack.sources}
    found: list[tuple[str, str, dict[str, Any]]] = []
    for path, file in render_pack(pack, values, Compiled()).items():
        env = next((e for e in values["environments"] if f"/{e['name']}/" in f"/{path}"), None)
        text = texts[file.origin]
        if not file.origin.endswith(".jinja"):
            text = "[% raw %]" + text + "[% endraw %]" if "[[" in text or "[%" in text else text
        found.append((str(path), text, {**values, "env": env} if env else values))
    return found
