"""Templates to files, in process.

`templates/` is a copier template and stays one; this engine reads just the part of copier's format
that ours uses: `.jinja` suffix, templated names with `yield`, `_exclude` and `_envops` of
`copier.yml`. A parity test holds it against stock copier. It renders in Jinja's sandbox with strict
undefined values, and keeps compiled templates in a cache of the user's.
"""

from __future__ import annotations

import hashlib
import marshal
import re
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any, NamedTuple

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from generator.problems import InputError, Problem, Where
from generator.render.context import Context
from generator.render.quoting import Free, QuotingExtension
from generator.tree import EXECUTABLE, REGULAR, File, FileTree, RelPath, refuse_case_twins, rel_path

SUFFIX = ".jinja"
ENVOPS = {
    "block_start_string": "[%",
    "block_end_string": "%]",
    "variable_start_string": "[[",
    "variable_end_string": "]]",
    "comment_start_string": "[#",
    "comment_end_string": "#]",
    "trim_blocks": True,
    "lstrip_blocks": True,
    "keep_trailing_newline": True,
}


class Source(NamedTuple):
    """One file of a template folder: its path there, its text or bytes, whether it is executable."""

    path: str
    content: bytes
    executable: bool = False


class Pack(NamedTuple):
    """A template folder as a value. `exclude` are its patterns, templated, as copier.yml has them."""

    sources: tuple[Source, ...]
    exclude: tuple[str, ...] = ()


class Unquoted(jinja2.TemplateError):
    """Free text of a user was about to be printed without a quoting filter."""


def _finalize(value: Any) -> Any:
    if isinstance(value, Free):
        raise Unquoted("free text is printed without a quoting filter")
    return value


def environment() -> jinja2.Environment:
    """The Jinja environment in which all templates render."""
    return ImmutableSandboxedEnvironment(
        **ENVOPS,
        undefined=jinja2.StrictUndefined,
        extensions=[QuotingExtension],
        finalize=_finalize,
        autoescape=False,
        cache_size=0,
    )


class Compiled:
    """Compiled templates by the hash of their text: read from a cache's bytes, given back as bytes.

    The cache is only a shortcut: what cannot be read, or was made by other versions, is made anew.
    """

    def __init__(self, cached: bytes = b""):
        self.env = environment()
        self.changed = False
        self._codes: dict[str, CodeType] = {}
        self._templates: dict[tuple[str, str], jinja2.Template] = {}
        self._versions = f"{sys.version_info}{jinja2.__version__}{sorted(ENVOPS.items())}".encode()
        digest, body = cached[:32], cached[32:]
        if body and hashlib.sha256(self._versions + body).digest() == digest:
            self._codes = marshal.loads(body)  # noqa: S302 - ours by hash, from a folder of the user alone

    def dump(self) -> bytes:
        body = marshal.dumps(self._codes)
        return hashlib.sha256(self._versions + body).digest() + body

    def template(self, text: str, name: str) -> jinja2.Template:
        known = self._templates.get((name, text))
        if known is not None:
            return known
        key = hashlib.sha256(f"{name}\0{text}".encode()).hexdigest()
        code = self._codes.get(key)
        if code is None:
            code = self.env.compile(text, name, name)
            self._codes[key] = code
            self.changed = True
        made = jinja2.Template.from_code(self.env, code, self.env.make_globals(None))
        self._templates[name, text] = made
        return made

    def render(self, text: str, name: str, values: Context) -> str:
        """Render one text; `name` is the template file that a problem points at."""
        try:
            return self.template(text, name).render(values)
        except jinja2.TemplateSyntaxError as error:
            raise InputError(_template_problem(error, name, error.lineno)) from None
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise InputError(_template_problem(error, name, _line_of(error))) from None


def _line_of(error: BaseException) -> int:
    trace = error.__traceback__
    line = 0
    while trace:  # jinja rewrites tracebacks: the last frame of a template has its line
        if "__jinja_template__" in trace.tb_frame.f_globals or trace.tb_frame.f_code.co_name in (
            "top-level template code",
            "root",
        ):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _template_problem(error: Exception, name: str, line: int) -> Problem:
    return Problem(
        "template-error",
        f"the template cannot be rendered: {error}",
        "Mend the template.",
        where=Where(name, line),
    )


def render(pack: Pack, values: Context, compiled: Compiled) -> FileTree:
    """Render a pack to the files of a project. Files that are empty in name are left out."""
    excluded = [_rendered_exclusion(pattern, values, compiled) for pattern in pack.exclude]
    files: dict[RelPath, File] = {}
    for source in pack.sources:
        for path, scope in _names(source.path, values, compiled):
            if not path or any(_matches(path, pattern) for pattern in excluded if pattern):
                continue
            content = source.content
            if path.endswith(SUFFIX):
                content = compiled.render(content.decode(), source.path, scope).encode()
            mode = EXECUTABLE if source.executable else REGULAR
            files[rel_path(path.removesuffix(SUFFIX))] = File(content, mode, source.path)
    refuse_case_twins(files)
    return FileTree(files)


def _rendered_exclusion(pattern: str, values: Context, compiled: Compiled) -> str:
    if "[" not in pattern:
        return pattern
    return compiled.render(pattern, "copier.yml", values)


def _matches(path: str, pattern: str) -> bool:
    """Whether an exclusion covers a path: it is that file, or a folder above it.

    copier takes gitignore patterns here. Ours are plain paths from the top, which mean the same
    there and need no matcher.
    """
    pattern = pattern.strip("/")
    return path.removesuffix(SUFFIX) == pattern or path.startswith(pattern + "/")


_YIELD = re.compile(
    r"\[% yield (?P<item>\w+) from (?P<items>[\w.]+) %\](?P<name>.*?)\[% endyield %\]"
)


def _names(path: str, values: Context, compiled: Compiled) -> Iterator[tuple[str, Context]]:
    """The output paths of a templated path, each with the values that its content sees.

    A part that renders to nothing leaves the file out, as in copier.
    """
    if "[" not in path:
        yield path, values
        return
    part, slash, rest = path.partition("/")
    for name, scope in _part(part, values, compiled):
        if not name:
            continue
        if not slash:
            yield name, scope
            continue
        for below, inner in _names(rest, scope, compiled):
            yield f"{name}/{below}", inner


def _part(part: str, values: Context, compiled: Compiled) -> Iterator[tuple[str, Context]]:
    loop = _YIELD.search(part)
    if not loop:
        yield (compiled.render(part, part, values) if "[" in part else part), values
        return
    items: Any = values
    for key in loop["items"].split("."):
        items = items[key]
    text = part[: loop.start()] + loop["name"] + part[loop.end() :]
    for item in items:
        scope = {**values, loop["item"]: item}
        yield compiled.render(text, part, scope), scope
