"""The spec as a file: what no case folder can hold, and whatever else a file may be."""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.generate import load
from generator.problems import InputError, Problem
from generator.render.quoting import as_yaml
from tests.golden import CASES
from tests.program import SMALLEST, fork, gen, here

TODAY = dt.date(2026, 11, 23)
FULL = (CASES / "new-full/app.yaml").read_text("utf-8")


def _refused(spec: bytes) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        load(spec, "app.yaml", TODAY)
    return list(caught.value.problems)


_REFUSED: dict[str, tuple[bytes, str, str]] = {
    "NUL": (b"gen: 1\nname: a\0b\n", "app.yaml:2:8", "U+0000"),
    "escape": (b"gen: 1\nname: \x1b[31mred\n", "app.yaml:2:7", "U+001B"),
    "next line": (b"gen: 1\nname: a\xc2\x85b\n", "app.yaml:2:8", "U+0085"),
    "Latin-1": (b"gen: 1\nname: sample-app\nowner: J\xfcrgen\n", "app.yaml:3:9", "byte 32 (0xfc)"),
    "UTF-16": (SMALLEST.encode("utf-16"), "app.yaml:1:1", "byte 0 (0xff) is not UTF-8"),
    "cut in a character": (SMALLEST.encode() + b"owner: \xe4\xb8", "app.yaml:3:8", "0xe4"),
    "surrogate": (b"gen: 1\nname: \xed\xa0\x80\n", "app.yaml:2:7", "0xed"),
    "byte order mark within": (b"gen: 1\nname: a\xef\xbb\xbfb\n", "app.yaml:2:8", "U+FEFF"),
    "only a byte order mark": (b"\xef\xbb\xbf", "app.yaml:1:1", "the spec is empty"),
    "nothing": (b"", "app.yaml:1:1", "the spec is empty"),
    "blank lines": (b"\n\n  \n", "app.yaml:1:1", "the spec is empty"),
    "end of document": (b"---\n...\n", "app.yaml:1:1", "the spec is empty"),
    "too large": (SMALLEST.encode() + b"#" * 2**20, "app.yaml", "larger than 512 KiB"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_refused(name: str) -> None:
    """A file that is no text of ours is refused, once, at the place of the fault."""
    spec, where, says = _REFUSED[name]

    (problem,) = _refused(spec)

    assert str(problem.where) == where
    assert says in problem.summary
    assert problem.fix


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "---\n" + text,
        lambda text: "%YAML 1.2\n---\n" + text + "...\n",
        lambda text: "# comment\n\n" + text + "\n\n# end",
    ],
    ids=["BOM", "CRLF", "BOM and CRLF", "no newline", "document start", "directive", "comments"],
)
def test_accepted(change: Callable[[str], str]) -> None:
    """Ways to write the same text down make the same project."""
    changed = load(change(FULL).encode(), "app.yaml", TODAY)

    assert changed.project == load(FULL.encode(), "app.yaml", TODAY).project


def test_kept_as_written(tmp_path: Path) -> None:
    """The project's app.yaml is the given file, byte by byte."""
    for name, text in (("a", "\ufeff# mine\r\ngen: 1\r\nname: sample-app"), ("b", FULL)):
        (tmp_path / "given.yaml").write_bytes(text.encode())

        gen("new", "--spec", "given.yaml", "--dir", name, cwd=tmp_path)

        assert (tmp_path / name / "app.yaml").read_bytes() == text.encode()


def test_missing_and_folder(tmp_path: Path) -> None:
    """A spec that is not there, or is a folder, is the user's to mend."""
    (tmp_path / "folder").mkdir()
    for name, says in (("none.yaml", "there is no none.yaml"), ("folder", "folder is a folder")):
        done = gen("new", "--spec", name, "--dir", "out", cwd=tmp_path)

        assert done.returncode == 2
        assert f"{name}: {says}\n  fix: " in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_spec_from_a_pipe(tmp_path: Path) -> None:
    """A spec may come through a pipe."""
    read, write = os.pipe()
    os.write(write, SMALLEST.encode())
    os.close(write)

    ended = fork(("new", "--spec", f"/dev/fd/{read}", "--dir", "out"), tmp_path, lambda: None)()
    os.close(read)

    assert ended.code == 0, ended.stderr
    assert (tmp_path / "out/app.yaml").read_text() == SMALLEST


def _deep_block(levels: int) -> str:
    return "config:\n" + "".join(f"{' ' * level}a:\n" for level in range(1, levels))


_HOSTILE = {
    "100 MB": "",
    "brackets": "config: " + "[" * 500_000,
    "braces": "config: " + "{a: " * 120_000,
    "block": _deep_block(700),
    "dashes": "targets:\n" + "- " * 200_000 + "x",
    "keys": "config:\n" + "".join(f"  A{i}: x\n" for i in range(40_000)),
    "anchors": "targets: container\nconfig:\n"
    + "".join(f"  A{i}: &a{i} x\n" for i in range(9_000)),
    "sections": "x:\n" + "".join(f"  - &a{i} {{a: x}}\n" for i in range(4_900)),
    "aliases": "config:\n  A: &a [" + "x, " * 5_000 + "]\n" + "  B: *a\n" * 5_000,
    "merges": "a: &a {b: x}\n" + "".join(f"a{i}: &a{i} {{<<: *a}}\n" for i in range(4_000)),
    "quotes": "owner: " + "'" * 500_000,
    "escapes": 'owner: "' + "\\u0041" * 80_000 + '"',
    "blanks": "owner: " + " " * 500_000 + "x",
    "lines": "owner: >\n" + "  x\n" * 120_000,
    "documents": "---\n" * 100_000,
    "comment": "#" * 500_000 + "\n",
    "question marks": "? " * 200_000,
    "unknown keys": "".join(f"k{i}: x\n" for i in range(9_000)),
    "routes": "http:\n  routes:\n" + "".join(f"  - GET /{i}\n" for i in range(9_000)),
    "laughs": "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in pairwise("abcdefghi")),
}


_LEGAL = {"anchors", "blanks", "comment"}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile(name: str, tmp_path: Path) -> None:
    """No file costs much time or memory before it is refused."""
    with (tmp_path / "app.yaml").open("w") as spec:
        spec.write(SMALLEST + _HOSTILE[name])
        if name == "100 MB":
            spec.truncate(100 * 2**20)
    here("new", "--spec", "none")  # so that the fork has all loaded

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        memory = pages * resource.getpagesize() + 200 * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (1, 1))

    ended = fork(("new", "--spec", "app.yaml", "--dir", "out"), tmp_path, limit)()

    assert ended.code == (0 if name in _LEGAL else 2), ended
    assert ended.stderr.startswith("app.yaml:") or name in _LEGAL


_SIGNS = st.sampled_from(
    [*"\n\n\n  \t:-[]{},&*!|>'\"%@`#?=<~\\.0123", "---", "...", "<<: ", "*a", "&a "]
)
_WORDS = st.sampled_from(
    ["gen", "name", "http", "config", "environments", "targets", "null", "~", "1", "x", "prod"]
)


def _spliced(text: str) -> st.SearchStrategy[str]:
    """A text with a stretch replaced by something else."""
    return st.builds(
        lambda at, length, new: text[:at] + "".join(new) + text[at + length :],
        st.integers(0, len(text)),
        st.integers(0, 8),
        st.lists(_SIGNS | _WORDS | st.text(max_size=3), max_size=4),
    )


@given(
    st.binary(max_size=200)
    | st.text().map(lambda text: text.encode(errors="surrogatepass"))
    | st.lists(_SIGNS | _WORDS, max_size=40).map(lambda parts: "".join(parts).encode())
    | _spliced(FULL).map(lambda text: text.encode(errors="surrogatepass"))
    | _spliced(SMALLEST).map(lambda text: text.encode(errors="surrogatepass"))
)
def test_any_file(spec: bytes) -> None:
    """Whatever is in the file: a project, or problems that each have a place in it and a way out."""
    _is_answered(spec)


_VALUES = st.recursive(
    st.none()
    | st.sampled_from(
        ["", "0", "-1", "1e3", "60%", "15s", "all", "container", "/x", "GET /", "x" * 99]
    )
    | st.integers()
    | st.booleans()
    | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(_WORDS | st.sampled_from(["A", "PORT", "container"]), below, max_size=3)
    ),
    max_leaves=6,
)
_SECTIONS = list(
    json.loads((Path(load.__code__.co_filename).parent / "spec/schema.json").read_text())[
        "properties"
    ]
)


@given(
    st.dictionaries(st.sampled_from(_SECTIONS), _VALUES, max_size=5),
    st.dictionaries(
        st.sampled_from(["stage", "prod", "Prod"]),
        st.dictionaries(st.sampled_from(_SECTIONS), _VALUES, max_size=3),
        max_size=2,
    ),
)
def test_any_value(base: dict[str, object], environments: dict[str, object]) -> None:
    """Whatever stands under the keys of the spec: the same."""
    _is_answered(as_yaml({**base, "environments": environments or None}).encode())


def _is_answered(spec: bytes) -> None:
    try:
        checked = load(spec, "app.yaml", TODAY)
    except InputError as error:
        problems = list(error.problems)
        assert any(not problem.warning for problem in problems)
    else:
        problems = list(checked.warnings)
        assert all(problem.warning for problem in problems)
    lines = spec.decode("utf-8-sig", errors="replace").splitlines() or [""]
    for problem in problems:
        assert problem.where
        assert problem.where.line <= len(lines) + 1
        assert problem.summary
        assert problem.fix
        assert "\n" not in problem.summary
    assert problems == sorted(problems, key=lambda problem: problem.where or ())
    assert len(set(problems)) == len(problems)
