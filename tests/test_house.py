"""The house: sizes, the command line's manners, start-up, and the wheel."""

from __future__ import annotations

import ast
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tools
from tests.program import ROOT, SMALLEST, gen, here

PACKAGE = ROOT / "generator"
MODULES = sorted(PACKAGE.rglob("*.py"))
_NAMES = [path.relative_to(PACKAGE).as_posix() for path in MODULES]


def _nodes(module: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(module.read_text("utf-8")))


@pytest.mark.parametrize("module", MODULES, ids=_NAMES)
def test_sizes(module: Path) -> None:
    """A module fits a sitting, a function a screen, and no class knows everything."""
    assert len(module.read_text("utf-8").splitlines()) <= 400
    for node in _nodes(module):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name
        if isinstance(node, ast.ClassDef):
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
            assert len(methods) <= 14, node.name


def test_most_functions_are_small() -> None:
    """The median function has twelve lines at most."""
    lengths = [
        (node.end_lineno or 0) - node.lineno + 1
        for module in MODULES
        for node in _nodes(module)
        if isinstance(node, ast.FunctionDef)
    ]

    assert statistics.median(lengths) <= 12


def _commands() -> list[list[str]]:
    """Every command and the commands below it, as the program itself lists them."""
    import click

    from generator.cli import COMMANDS

    found = []
    for name in COMMANDS:
        found.append([name])
        from importlib import import_module

        command = import_module(f"generator.commands.{name}").command
        if isinstance(command, click.Group):
            found += [[name, below] for below in command.commands]
    return found


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_help(words: list[str]) -> None:
    """Every command tells what it does, with an example that one can type."""
    outcome = here(*words, "--help")

    assert outcome.code == 0
    assert f"Usage: gen {' '.join(words)}" in outcome.stdout
    assert f"gen {words[0]}" in outcome.stdout.partition("Example: ")[2]
    for option in ("-C DIR", "--format", "-q, --quiet"):
        assert option in outcome.stdout
    assert here(*words, "-h") == outcome


def test_help_lists_every_command() -> None:
    """`gen --help` names each command with a line about it."""
    outcome = here("--help")

    assert outcome.code == 0
    for name, *_ in _commands():
        assert f"\n  {name} " in outcome.stdout
    assert "Example: gen new my-app" in outcome.stdout


def test_no_command() -> None:
    """`gen` alone shows the help, as a mistake in usage."""
    outcome = here()

    assert outcome.code == 2
    assert "Usage: gen" in outcome.stdout + outcome.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nwe"], 'Did you mean "new"?'),
        (["chekc", "--strict"], 'Did you mean "check"?'),
        (["frobnicate"], "there is no command 'frobnicate'."),
        (["new", "--tragets", "all"], "Did you mean '--targets'?"),
        (["new", "--runtime", "perl"], "'nodejs', 'python'"),
        (["new", "a", "b"], "unexpected extra argument"),
        (["check", "--only", "drfit"], "there is no check 'drfit'"),
        (["new"], "the app has no name"),
        (["--format", "xml", "schema"], "'text', 'json'"),
        (["-C", "/proc/no/such", "schema"], "No such file or directory: /proc/no/such"),
        (["new", "my-app", "--set", "=1"], "is not key=value"),
    ],
)
def test_usage(words: list[str], says: str) -> None:
    """A slip on the command line gets a word, a way out and exit 2."""
    outcome = here(*words)

    assert outcome.code == 2
    assert says in outcome.stderr
    assert "\n  fix: " in outcome.stderr
    assert outcome.stdout == ""


@pytest.mark.parametrize("words", [["--format", "json"], ["--format=json"]])
def test_json_before_and_after(words: list[str], tmp_path: Path) -> None:
    """`--format json` may stand before or after the command: one document on stdout, no text."""
    (tmp_path / "app.yaml").write_text(
        SMALLEST + "scale: {min: 5, max: 3}\nruntime: {version: 3.10}\n"
    )
    new = ["new", "--spec", str(tmp_path / "app.yaml"), "--dir", str(tmp_path / "out")]

    before, after = here(*words, *new), here(*new, *words)

    assert before == after
    assert (before.code, before.stderr) == (2, "")
    first, second = json.loads(before.stdout)["problems"]
    assert first == {
        "code": "scale-order",
        "file": str(tmp_path / "app.yaml"),
        "line": 3,
        "column": 22,
        "summary": "scale.min must not exceed scale.max (min 5, max 3)",
        "detail": "(scale.min is in line 3.)",
        "fix": "Raise scale.max to 5 or lower scale.min to 3.",
        "field": "scale.min",
        "severity": "error",
    }
    assert second["field"] == "runtime.version"


def test_json_of_usage() -> None:
    """A slip on the command line is a problem in JSON, too."""
    outcome = here("--format", "json", "nwe")

    assert (outcome.code, outcome.stderr) == (2, "")
    (problem,) = json.loads(outcome.stdout)["problems"]
    assert problem["code"] == "usage"


def test_json_of_new(tmp_path: Path) -> None:
    """What `gen new` made, as data: all files but its own state."""
    (tmp_path / "app.yaml").write_text(SMALLEST)
    outcome = here(
        "new",
        "--spec",
        str(tmp_path / "app.yaml"),
        "--dir",
        str(tmp_path / "out"),
        "--format",
        "json",
    )
    made = json.loads(outcome.stdout)

    assert (outcome.code, outcome.stderr, made["name"]) == (0, "", "sample-app")
    assert made["problems"] == []
    assert set(made["files"]) == {
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and ".gen" not in path.parts
    }


def test_quiet(tmp_path: Path) -> None:
    """`--quiet` leaves results and problems only."""
    (tmp_path / "app.yaml").write_text(SMALLEST)
    outcome = here(
        "-q", "new", "--spec", str(tmp_path / "app.yaml"), "--dir", str(tmp_path / "out")
    )

    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, "", "")


def test_folder_option(tmp_path: Path) -> None:
    """`-C DIR` before or after the command is the folder it runs in."""
    (tmp_path / "app.yaml").write_text(SMALLEST)

    first = gen("-C", tmp_path, "new", "--spec", "app.yaml", "--dir", "a", cwd=ROOT)
    second = gen("new", "--spec", "app.yaml", "--dir", "b", "-C", tmp_path, cwd=ROOT)

    assert first.returncode == second.returncode == 0
    assert (tmp_path / "a/app.yaml").is_file()
    assert (tmp_path / "b/app.yaml").is_file()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The completion script is one that its shell reads, and it completes commands and options."""
    outcome = here("completion", shell)

    assert outcome.code == 0
    assert "_GEN_COMPLETE" in outcome.stdout
    if shell == "bash" or tools.find(shell):  # bash is everywhere that make is
        program = tools.need(shell)
        done = subprocess.run(
            [program, "-n"], input=outcome.stdout, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("gen n", "new"), ("gen new --tar", "--targets"), ("gen new --runtime p", "python")],
)
def test_completes(words: str, wanted: str) -> None:
    """What the shell asks the program for, it answers."""
    asked = {
        "_GEN_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }

    done = gen(cwd=ROOT, environment={"PATH": os.environ["PATH"], **asked})

    assert wanted in done.stdout.replace("plain,", "").split()
    assert (done.returncode, done.stderr) == (0, "")


def test_completion_of_an_unknown_kind() -> None:
    """A request that the program does not know is a failure."""
    asked = {"_GEN_COMPLETE": "bash_nonsense", "PATH": os.environ["PATH"]}

    assert gen(cwd=ROOT, environment=asked).returncode == 1


_HEAVY = {"pydantic", "jinja2", "ruamel", "yaml", "click", "docker", "boto3", "copier", "black"}


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        ("--version", set()),
        ("schema", {"click"}),
        ("new --spec app.yaml --dir out", {"click", "yaml", "jinja2"}),
        ("check --only drift -C out", {"click", "yaml", "jinja2", "ruamel"}),
    ],
)
def test_start_up(words: str, allowed: set[str], tmp_path: Path) -> None:
    """A command loads no library that it does not use."""
    (tmp_path / "app.yaml").write_text(SMALLEST)
    if "out" in words and "new" not in words:
        assert gen("new", "--spec", "app.yaml", "--dir", "out", cwd=tmp_path).returncode == 0
    script = (
        "import sys; from generator.__main__ import main; "
        f"sys.argv = ['gen', *{words.split()!r}]; code = main(); "
        "print(code, *{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    code, *loaded = done.stderr.split()

    assert code == "0", done.stderr
    assert _HEAVY & set(loaded) <= allowed


def test_version() -> None:
    """`gen --version` says the same however it is asked."""
    from generator import __version__

    assert gen("--version", cwd=ROOT).stdout == f"gen {__version__}\n"
    assert here("--version").stdout == f"gen {__version__}\n"


def test_fault_ofhere() -> None:
    """A fault of gen itself is one line that owns up to it, and a traceback for who asks."""
    script = (
        "import sys; import generator.commands.schema as broken; broken.text = None; "
        "from generator.cli import main; sys.exit(main(['schema']))"
    )
    plain = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    asked = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "GEN_DEBUG": "1"},
    )  # fmt: skip

    assert plain.returncode == 3
    assert plain.stderr.startswith("gen failed, which is a fault of gen: TypeError")
    assert "Traceback" not in plain.stderr
    assert "Traceback" in asked.stderr


def test_wheel(tmp_path: Path) -> None:
    """The wheel has all that `gen new` needs, templates among it, and makes the same project."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    pip = [str(tmp_path / "venv/bin/pip"), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, env={"PATH": os.defpath})
    _lend_libraries(tmp_path / "venv")
    (tmp_path / "app.yaml").write_text(SMALLEST)
    python = tmp_path / "venv/bin/python"

    done = subprocess.run(
        [python, "-m", "generator", "new", "--spec", "app.yaml", "--dir", "wheel"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={"PATH": os.defpath},
    )  # fmt: skip
    here = gen("new", "--spec", "app.yaml", "--dir", "here", cwd=tmp_path)

    assert (done.returncode, done.stderr) == (here.returncode, here.stderr) == (0, "")
    assert _tree(tmp_path / "wheel") == _tree(tmp_path / "here")


def _lend_libraries(venv: Path) -> None:
    """Let an environment use the libraries of ours, but not our checkout of gen."""
    import click

    (site,) = venv.glob("lib/python*/site-packages")
    for entry in Path(click.__file__).parent.parent.iterdir():
        ours = entry.name.startswith(("gen-", "_gen", "generator")) or entry.suffix == ".pth"
        if not ours and not (site / entry.name).exists():
            (site / entry.name).symlink_to(entry)


def _tree(folder: Path) -> dict[str, tuple[bytes, bool]]:
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), os.access(path, os.X_OK))
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_readme_sample() -> None:
    """The messages that the README shows are those that gen prints."""
    printed = (ROOT / "tests/cases/bad-readme/stderr").read_text()

    assert printed in (ROOT / "README.md").read_text()
