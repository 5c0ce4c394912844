"""Strings that tests put where a user may write free text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

_Test = TypeVar("_Test", bound=Callable[..., Any])

NASTY = (
    "",
    " ",
    "  leading and trailing  ",
    "plain",
    '"',
    "'",
    "\"'",
    "'quoted'",
    '"quoted"',
    '""',
    "''",
    "it's",
    "\\",
    "a\\",
    "a\\ ",
    "\\ \\",
    "\\n",
    "\\'",
    '\\"',
    "$HOME",
    "$$HOME",
    "${x}",
    "$(id)",
    "$(shell id)",
    "%{x}",
    "%s",
    "`id`",
    "{{ x }}",
    "{% x %}",
    "{# x #}",
    "[[ x ]]",
    "[% x %]",
    "<% x %>",
    "<!-- x -->",
    "--> --!> ---> */ /* //",
    "# heading",
    "a # comment",
    "a: b",
    "- item",
    "+ item",
    "1. item",
    "1) item",
    "---",
    "===",
    "...",
    "> quote",
    "~~gone~~",
    "**bold** _it_ __b__ a_b_c *",
    "| a | b |",
    "[text](http://example.com)",
    "![image](x)",
    "http://example.com www.example.com a@example.com",
    "<b>bold</b> <script>alert(1)</script>",
    "&amp; &#35; R&D & &copy",
    "@acme",
    "@-x",
    "-x",
    "+x",
    "!x",
    "&x",
    "*x",
    "|",
    ">",
    "%x",
    "?",
    "=",
    "~",
    "no",
    "on",
    "y",
    "null",
    "true",
    "1_000",
    "0o17",
    "08080",
    "3.10",
    "1e3",
    ".5",
    ".inf",
    "12:30",
    "2026-01-01",
    "coding: latin-9",
    "vim: set ft=sh:",
    "syntax=docker/dockerfile:1",
    "EOF",
    "A=b",
    "a,b;c&d|e<f>g(h)i{j}k[l]m*n?o!p^q~r",
    "\u00e9\u00fc\u00df \u4e2d\u6587 \u05e2\u05d1\u05e8",
    "emoji \U0001f600 \U0001f468\u200d\U0001f469",
    "right-to-left \u202e mark \u200f and \u2066 isolate \u2069",
    "line \u2028 and paragraph \u2029 separators",
    "no-break\u00a0space, ideographic\u3000space, byte order mark \ufeff",
    "x" * 5000,
)
"""One line each; legal as owner or description, but for U+2028 and U+2029, and as configuration."""

NASTY_LINES = (
    "\n",
    "a\nb",
    "a\n",
    "\na",
    "a\n\nb\n",
    "\t",
    "a\tb",
    "line one\nline 'two'\n\"three\"\\\n$four\n# five\n",
    "EOF\nEOF\n",
    "a\\\nb",
)
"""Legal as configuration only."""

LINE = st.text(st.characters(exclude_categories=["Cc", "Cs"])) | st.sampled_from(NASTY)
"""Any text of one line: what owner and description may hold, U+2028 and U+2029 included."""

LEGAL = (
    st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\t\n"))
    | st.sampled_from(NASTY)
    | st.sampled_from(NASTY_LINES)
)
"""What a config variable may hold."""

ANY = st.text(st.characters(exclude_categories=["Cs"])) | LEGAL
"""All text that UTF-8 can write, control characters included."""


def nasty(*texts: str) -> Callable[[_Test], _Test]:
    """Let a property meet each of these texts, whatever else it meets."""

    def meet(test: _Test) -> _Test:
        for text in texts:
            test = example(text=text)(test)
        return test

    return meet


def dockerfile_word(word: str) -> str:
    """A word of LABEL or ENV by the rules of Docker's reference: parts in double quotes and bare
    ones; a backslash takes the meaning off what follows, within quotes off `"`, `$` and itself only;
    an unescaped `$` begins a variable, a blank ends the word, and a line break the instruction."""
    assert re.fullmatch(r'(?:"(?:[^"\\$\n]|\\.)*"|\\\S|[^\s"\\$])+', word), word
    parts = re.findall(r'"((?:[^"\\]|\\.)*)"|((?:\\.|[^"\\])+)', word)
    return "".join(
        re.sub(r'\\(["\\$])', r"\1", quoted) + re.sub(r"\\(.)", r"\1", bare)
        for quoted, bare in parts
    )


def samples(strategy: st.SearchStrategy[str], count: int = 200) -> list[str]:
    """Many strings at once, for a judge that is slow to start."""
    found = [*NASTY]

    @settings(
        max_examples=count, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def collect(text: str) -> None:
        found.append(text)

    collect()
    return list(dict.fromkeys(found))
