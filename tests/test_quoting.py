"""Quoting: each filter's literal, read by that language's own parser, is the text again."""

from __future__ import annotations

import ast
import getpass
import html
import io
import json
import os
import re
import socket
import subprocess
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import black
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from generator.render.quoting import FILTERS, Free
from tests import tofu, tools
from tests.strings import ANY, LEGAL, LINE, NASTY, NASTY_LINES, dockerfile_word, nasty, samples

_PLACES = ("key: {}\n", "- {}\n", "outer:\n  - {{ key: {}, next: x }}\n", "{}\n", "{}: x\n")


def _innermost(data: object) -> object:
    """The one literal in a document of `_PLACES`."""
    if isinstance(data, list):
        return _innermost(data[0])
    if isinstance(data, dict):
        key, value = next(iter(data.items()))
        return key if value == "x" and key != "key" else _innermost(value)
    return data


def _ruamel(text: str) -> object:
    return YAML(typ="safe", pure=True).load(io.StringIO(text))


@pytest.mark.parametrize("read", [_ruamel, yaml.safe_load], ids=["1.2", "1.1"])
@given(text=ANY, place=st.sampled_from(_PLACES))
def test_yaml(read: Callable[[str], object], text: str, place: str) -> None:
    """Readers of YAML 1.1 and 1.2 find the text again, wherever a scalar may stand."""
    key = place.startswith("{}:")
    text = text[:150] if key else text  # YAML's own limit for a key is 1,024 characters, escaped
    document = place.format(FILTERS["yaml"](text))

    assert _innermost(read(document)) == text


_DATA = st.recursive(
    ANY | st.integers(-(2**53), 2**53) | st.booleans() | st.none(),
    lambda below: (
        st.lists(below, max_size=4)
        | st.dictionaries(ANY.map(lambda key: key[:150]), below, max_size=4)
    ),
    max_leaves=8,
)


@given(_DATA)
def test_collections(data: object) -> None:
    """Lists and mappings come back whole from YAML, JSON and Python."""
    assert yaml.safe_load(FILTERS["yaml"](data)) == data
    assert json.loads(FILTERS["json"](data)) == data
    assert ast.literal_eval(FILTERS["py"](data)) == data


def test_javascript() -> None:
    """Node.js finds the text again, in a module as well as in a script."""
    node = tools.need("node")
    texts = samples(ANY)
    literals = ",\n".join(FILTERS["js"](text) for text in texts)
    script = f"process.stdout.write(JSON.stringify([\n{literals}\n]))"

    for kind in ("module", "commonjs"):
        done = _run([str(node), f"--input-type={kind}"], script.encode())

        assert json.loads(done) == texts


@nasty(*NASTY, *NASTY_LINES)
@given(text=ANY)
def test_python(text: str) -> None:
    """Python finds the text again, and black would not write the literal otherwise."""
    line = f"x = {FILTERS['py'](text)}\n"

    assert ast.literal_eval(line.removeprefix("x = ")) == text
    assert black.format_str(line, mode=black.Mode()) == line


def test_shell() -> None:
    """A POSIX shell takes each literal for one word with the text in it."""
    texts = samples(_without(ANY, "\0"))
    script = "".join(f"printf '%s\\0' {FILTERS['sh'](text)}\n" for text in texts)
    script += f"printf '%s\\0' {FILTERS['sh'](texts)}\n"

    words = _words(_run(["sh"], script.encode()))

    assert words == [*texts, *texts]


@nasty(*NASTY, *NASTY_LINES)
@given(text=ANY)
def test_systemd_assigns_as_a_shell_does(text: str) -> None:
    """A file of variables for systemd holds what a shell would assign. (What systemd itself makes of
    one is tried where an image boots, in tests/live.)"""
    text = text.replace("\0", "").replace("\r", "")  # no variable holds the one, no spec the other
    script = f'VALUE={FILTERS["systemd"](text)}\nprintf %s "$VALUE"'
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)

    assert done.stdout == text.encode()


@pytest.mark.parametrize("program", tofu.PROGRAMS)
def test_hcl(program: str, tmp_path: Path) -> None:
    """OpenTofu and Terraform find the text again (in its normal form), alone, in a list and as a key."""
    texts = [unicodedata.normalize("NFC", text) for text in samples(ANY)]
    keys = {text: [text, 1, None, True] for text in texts}
    (tmp_path / "outputs.tf").write_text(
        f"""\
output "texts" {{
  value = {FILTERS["hcl"](texts)}
}}
output "keys" {{
  value = {FILTERS["hcl"](keys)}
}}
"""
    )

    tofu.run(program, tmp_path, "apply", "-auto-approve")
    said = json.loads(tofu.run(program, tmp_path, "output", "-json").stdout)

    assert said["texts"]["value"] == texts
    assert said["keys"]["value"] == keys


def test_make(tmp_path: Path) -> None:
    """A recipe of make hands the text to the command, also where the word comes first."""
    texts = samples(_without(ANY, "\0\n"))
    (tmp_path / "show").write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    recipes = (f"\t@{tmp_path}/show {FILTERS['make'](text)}\n" for text in texts)
    (tmp_path / "show").chmod(0o755)
    (tmp_path / "Makefile").write_bytes(("all:\n" + "".join(recipes)).encode())

    words = _words(_run(["make", "--silent", "-C", str(tmp_path)]))

    assert words == texts


def test_make_command(tmp_path: Path) -> None:
    """A word that begins a recipe is a command, not one of make's own signs."""
    for name in ("-x", "@x", "+x", "x y", "$x"):
        command = tmp_path / name
        command.write_text("#!/bin/sh\nprintf '%s\\0' \"${0##*/}\"\n")
        command.chmod(0o755)
        (tmp_path / "Makefile").write_text(f"export PATH\nall:\n\t{FILTERS['make'](name)}\n")
        environment = {**tools.environment(), "PATH": f"{tmp_path}:{tools.search_path()}"}

        done = _run(["make", "--silent", "-C", str(tmp_path)], environment=environment)

        assert _words(done) == [name]


def test_make_refuses_line_breaks() -> None:
    """No word of a recipe can hold a line break, so none is written."""
    with pytest.raises(ValueError, match="line break"):
        FILTERS["make"]("a\nb")


@pytest.mark.parametrize("read", [_ruamel, yaml.safe_load], ids=["1.2", "1.1"])
@given(text=ANY, place=st.sampled_from(_PLACES[:-1]))
def test_ansible_is_yaml(read: Callable[[str], object], text: str, place: str) -> None:
    """Where Ansible's tag is not there, it is the text in YAML."""
    literal = FILTERS["ansible"](text)

    assert _innermost(read(place.format(literal.removeprefix("!unsafe ")))) == text


_TEMPLATES = (
    *(
        "{{",
        "{%",
        "{#",
        "{{ 1 + 1 }}",
        "a {{ undefined }}",
        "{% if %}",
        "{#",
        "{{ '{{' }}",
        "}} {{",
    ),
    *(
        "{{ lookup('ansible.builtin.pipe', 'id') }}",
        "{% raw %}x{% endraw %}",
        "{% endraw %}{{ x }}",
    ),
    *(
        "#jinja2: variable_start_string: '<<'\n<< 1 + 1 >>",
        "#jinja2:",
        "a\n#jinja2:x",
        "{",
        "{ {",
        "}}",
    ),
    *(
        "007",
        "0o7",
        "!unsafe x",
        "!vault x",
        "{a: b}",
        "[a]",
        "yes",
        "None",
        "1.0",
        "=",
        "<<",
        "null\n",
    ),
)


def test_ansible(tmp_path: Path) -> None:
    """Ansible finds the text again in a file of variables: as a variable, in lists and mappings, in a
    template of another; and takes none for a template."""
    ansible = tools.need("ansible-playbook")
    texts = [*samples(ANY), *NASTY_LINES, *_TEMPLATES]
    mapping = {f"k{i}": [text, {"text": text}] for i, text in enumerate(texts)}
    lines = [f"v{i}: {FILTERS['ansible'](text)}\n" for i, text in enumerate(texts)]
    lines.append(f"mapping: {FILTERS['ansible'](mapping)}\n")
    (tmp_path / "vars.yml").write_text("".join(lines), "utf-8")
    singly = ", ".join(f"v{i}" for i in range(len(texts)))
    within = ", ".join(f"'<' ~ v{i} ~ '>'" for i in range(len(texts)))
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "vars_files": ["vars.yml"],
        "tasks": [
            {"copy": {"content": f"{{{{ [{what}] | to_json }}}}", "dest": str(tmp_path / name)}}
            for name, what in (("singly", singly), ("within", within), ("mapping", "mapping"))
        ],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))

    _run([str(ansible), "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml")])

    assert json.loads((tmp_path / "singly").read_text()) == texts
    assert json.loads((tmp_path / "within").read_text()) == [f"<{text}>" for text in texts]
    assert json.loads((tmp_path / "mapping").read_text()) == [mapping]


def test_nginx(tmp_path: Path) -> None:
    """What nginx answers is the text, where the literal is the answer."""
    texts = [text for text in [*samples(ANY), *NASTY_LINES] if _nginx_can(text)]
    places = "".join(
        f"location = /{i} {{ return 200 {FILTERS['nginx'](text)}; }}\n"
        for i, text in enumerate(texts)
    )

    with _nginx(tmp_path, places) as ask:
        assert [ask(f"/{i}").decode() for i in range(len(texts))] == texts


def _nginx_can(text: str) -> bool:
    """Whether there is a word for the text; said here by nginx's rules, in other words than the filter."""
    escaped = re.sub(r'[\\"\n\r\t]', "__", text)
    return "$" not in text and len(escaped.encode()) <= 4000


@pytest.mark.parametrize(
    "text", ["$", "a$b", "${x}", "$$", "x" * 4001, "\u4e2d" * 1334, "\n" * 2001]
)
def test_nginx_refuses(text: str) -> None:
    """What begins a variable, or is longer than a word may be, is not written."""
    with pytest.raises(ValueError, match="a word of an nginx configuration"):
        FILTERS["nginx"](text)


def test_nginx_lists_and_switches() -> None:
    """A list is its words; true and false are what nginx calls them."""
    assert FILTERS["nginx"](["a b", "c", True, False, 3]) == '"a b" c on off 3'


@contextmanager
def _nginx(folder: Path, places: str) -> Iterator[Callable[[str], bytes]]:
    """An nginx that answers at a socket in the folder, and a way to ask it."""
    binary = tools.need("nginx")
    user = f"user {getpass.getuser()};\n" if os.getuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (folder / "nginx.conf").write_text(
        f"{user}daemon off;\npid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n"
        + "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
        + f"server {{\nlisten unix:{folder}/socket;\n{places}}}\n}}\n",
        "utf-8",
    )
    command = [str(binary), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]
    errors = folder / "errors"
    with errors.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=file)

    def ask(path: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(folder / "socket"))
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(
                b"\r\n\r\n"
            )
        assert b" 200 " in head, head
        return body

    try:
        deadline = time.monotonic() + 20
        while not (folder / "socket").exists():
            assert process.poll() is None, errors.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield ask
    finally:
        process.terminate()
        process.wait(10)


@nasty(*NASTY)
@given(text=LINE)
def test_dockerfile(text: str) -> None:
    """A value of LABEL or ENV is the text again."""
    assert dockerfile_word(FILTERS["dockerfile"](text)) == text


@given(st.lists(LEGAL, min_size=1))
def test_dockerfile_exec_form(words: list[str]) -> None:
    """The exec form is a list in JSON, on one line."""
    literal = FILTERS["dockerfile"](words)

    assert json.loads(literal) == words
    assert len(literal.splitlines()) == 1


@nasty(*NASTY, *NASTY_LINES)
@given(text=ANY)
def test_comment(text: str) -> None:
    """A comment ends neither its line nor itself, in languages with `#`, `//`, `/* */`, `<!-- -->`."""
    comment = FILTERS["comment"](text)

    assert len(f"# {comment}".splitlines()) == 1
    assert not re.search(r"\*/|--!?>|\\\s*$|[\x00-\x1f\x7f-\x9f]", comment)


@nasty(*NASTY)
@given(text=LINE)
def test_comment_keeps_words(text: str) -> None:
    """A comment has the letters and digits of the text."""

    def words(text: str) -> list[str]:
        return re.findall(r"[^\W_]+", text)

    assert words(FILTERS["comment"](text)) == words(text)


_MARKDOWN = {
    "commonmark": MarkdownIt("commonmark"),
    "tables": MarkdownIt("gfm-like", {"linkify": False}),
}


def _shown(rendered: str) -> str:
    """The text that a browser shows of a paragraph, whose HTML may hold no other element."""
    match = re.fullmatch(r"(?:<p>([^<>]*)</p>\n)?", rendered)
    assert match, rendered
    return html.unescape(match[1] or "")


@pytest.mark.parametrize("flavour", _MARKDOWN)
@nasty(*NASTY, *NASTY_LINES)
@given(text=LEGAL)
def test_markdown(flavour: str, text: str) -> None:
    """A Markdown renderer shows the text and nothing else, at the start of a paragraph and in it."""
    markdown = FILTERS["markdown"](text)

    alone = _shown(_MARKDOWN[flavour].render(markdown + "\n"))
    within = _shown(_MARKDOWN[flavour].render(f"Before:\n{markdown}, after.\n"))

    assert _letters(alone) == _letters(text)
    assert _letters(within) == _letters(f"Before:{text}, after.")


def _letters(text: str) -> str:
    """A text without blanks, and without what is only there to hide or to steer."""
    hidden = "[\xad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]"
    return re.sub(rf"\s|{hidden}", "", text)


class _Loader(yaml.SafeLoader):
    """Reads `=` as text, as YAML 1.2 and Go do; PyYAML knows the word and has no value for it."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda _, node: str(node.value))


def test_kustomize(tmp_path: Path) -> None:
    """A ConfigMap that kustomize makes of the literals holds the texts."""
    kubectl = tools.need("kubectl")
    texts = list(dict.fromkeys([*samples(LEGAL), *NASTY_LINES]))
    literals = "".join(
        f'      - "KEY_{i}={FILTERS["kustomize"](text)}"\n' for i, text in enumerate(texts)
    )
    (tmp_path / "kustomization.yaml").write_text(
        f"configMapGenerator:\n  - name: config\n    literals:\n{literals}", "utf-8"
    )

    made = yaml.load(_run([str(kubectl), "kustomize", str(tmp_path)]), _Loader)  # noqa: S506 - safe

    assert made["data"] == {f"KEY_{i}": text for i, text in enumerate(texts)}


@pytest.mark.parametrize("name", FILTERS)
@given(text=LINE)
def test_filters_give_plain_text(name: str, text: str) -> None:
    """What a filter gives of free text may be printed, and is one line."""
    assume(name != "nginx" or _nginx_can(text))

    literal = FILTERS[name](Free(text))

    assert type(literal) is str
    assert not set(literal) & {"\n", "\r"}


def _without(strategy: st.SearchStrategy[str], characters: str) -> st.SearchStrategy[str]:
    return strategy.filter(lambda text: not set(text) & set(characters))


def _words(output: bytes) -> list[str]:
    return output.decode().split("\0")[:-1]


def _run(
    command: list[str], stdin: bytes = b"", environment: dict[str, str] | None = None
) -> bytes:
    done = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        check=False,
        env=environment or tools.environment(),
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:2000]
    return done.stdout
