"""Quoting: a filter per output language that turns any value into a literal of that language.

A string that people write freely (owner, description, config, command) is `Free`: the engine refuses
to print it, and every filter gives plain text back. So a template cannot insert one unquoted.
Standard library and Jinja only: a full fork of the templates carries this file with it.

Numbers, lists and mappings may pass too. All text of the spec is free of control characters except
tab and newline; the filters hold for every string without surrogates all the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment
from jinja2.ext import Extension


class Free(str):
    """Free text of a user: must pass a filter before it is printed."""

    __slots__ = ()


def as_json(value: Any) -> str:
    """A JSON literal. Not ASCII only, but without what breaks scripts or hides: U+2028 and the like."""
    text = json.dumps(_plain(value), ensure_ascii=False)
    return _HIDDEN.sub(_escape, text)


# Line separators, the byte order mark, bidirectional controls: escaped, so that a reader of the file
# sees what is there and no lexer takes one for a line break.
_HIDDEN = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff]"
)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


_SURE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_YAML_WORDS = re.compile(r"(?i:y|n|yes|no|on|off|true|false|null)")


def as_yaml(value: Any) -> str:
    """A YAML scalar or flow collection: plain where every YAML reader agrees, else double-quoted.

    Also a key, as long as YAML's limit of 1,024 characters for one is kept.
    """
    if isinstance(value, str):
        plain = _SURE.fullmatch(value) and not _YAML_WORDS.fullmatch(value)
        return str(value) if plain else as_json(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_yaml(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{as_yaml(k)}: {as_yaml(v)}" for k, v in value.items()) + "}"
    return as_json(value)


def as_ansible(value: Any) -> str:
    """A YAML scalar or flow collection in a file of variables, which Ansible gives back as it is.

    Ansible takes text with braces of Jinja, or with its own header, for a template; `!unsafe` says
    that it is none. Nowhere else: that tag reads a value as if it had no quotes, so `!unsafe "007"`
    is 7. Nothing that holds braces, or begins with `#`, is a number or another word without quotes.
    """
    if isinstance(value, str):
        return f"!unsafe {as_json(value)}" if _TEMPLATE.search(value) else as_yaml(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_ansible(item) for item in value) + "]"
    if isinstance(value, Mapping):
        # Keys are never templates.
        pairs = (f"{as_yaml(key)}: {as_ansible(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    return as_yaml(value)


_TEMPLATE = re.compile(r"\{[{%#]|^#jinja2:")


def as_js(value: Any) -> str:
    """A JavaScript literal: JSON is one, since what line breaks mean there is escaped."""
    return as_json(value)


def as_py(value: Any) -> str:
    """A Python literal in the form that black leaves alone: the quotes that need fewer escapes."""
    if isinstance(value, str):
        if value.count('"') <= value.count("'"):
            return as_json(value)
        swapped = {'\\"': '"', "'": "\\'"}
        body = as_json(value)[1:-1]
        return "'" + re.sub(r"\\.|'", lambda m: swapped.get(m[0], m[0]), body) + "'"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_py(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{as_py(k)}: {as_py(v)}" for k, v in value.items()) + "}"
    return repr(value)


def as_hcl(value: Any) -> str:
    """An HCL literal, in which nothing is a template: `${` and `%{` begin one within quotes.

    HCL keeps every text in the normal form NFC, so that is what comes back.
    """
    if isinstance(value, str):
        return _HCL_TEMPLATE.sub(_hcl_marks, _HCL_NO_ESCAPE.sub(_hcl_code, as_json(value)))
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_hcl(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{as_hcl(k)} = {as_hcl(v)}" for k, v in value.items()) + " }"
    return as_json(value)


# A backslash that is itself escaped is passed over, so that what follows it is not taken for its escape.
_HCL_NO_ESCAPE = re.compile(r"\\\\|\\[bf]")
_HCL_TEMPLATE = re.compile(r"[$%]+(?=\{)")


def _hcl_code(match: re.Match[str]) -> str:
    return {"\\b": "\\u0008", "\\f": "\\u000c"}.get(match[0], match[0])


def _hcl_marks(match: re.Match[str]) -> str:
    """`$${` is `${`; of several marks in a row the lexer would take the wrong two for one."""
    marks = match[0]
    return marks * 2 if len(marks) == 1 else f"{marks[:-1]}\\u{ord(marks[-1]):04x}"


_SHELL_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def as_sh(value: Any) -> str:
    """One word of a POSIX shell; a list as several words."""
    if isinstance(value, list | tuple):
        return " ".join(as_sh(item) for item in value)
    text = str(value)
    return text if _SHELL_SAFE.fullmatch(text) else "'" + text.replace("'", "'\"'\"'") + "'"


def as_dockerfile(value: Any) -> str:
    """A value of LABEL or ENV, or an exec-form list.

    Double-quoted, with `"` and `$` escaped. Backslashes stand escaped outside of the quotes: hadolint
    takes one before a quote for the quote's own. A newline cannot stand in a value, so it is a
    blank; only one-line values are printed by this.
    """
    if isinstance(value, list | tuple):
        return as_json(value).replace("\\\\", "\\u005c")
    text = re.sub(r"[\r\n]", " ", str(value))
    return "".join(map(_dockerfile_part, re.findall(r"\\+|[^\\]+", text))) or '""'


def _dockerfile_part(part: str) -> str:
    if part.startswith("\\"):
        return part * 2
    return '"' + re.sub(r'(["$])', r"\\\1", part) + '"'


def as_make(value: Any) -> str:
    """One shell word inside a recipe of a Makefile, where `$` is make's, and so are `@`, `-` and
    `+` where a recipe begins. A list as several words.

    Raises:
        ValueError: a line break, which no quoting keeps: make ends the recipe's line there.
    """
    if isinstance(value, list | tuple):
        return " ".join(as_make(item) for item in value)
    text = str(value)
    if "\n" in text:
        raise ValueError("a word of a recipe holds no line break")
    word = f"'{text}'" if text[:1] in ("@", "-", "+") and as_sh(text) == text else as_sh(text)
    return word.replace("$", "$$")


_NGINX_SAFE = re.compile(r"[A-Za-z0-9_./:-]+")
_NGINX_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NGINX_LONGEST = 4000
"""nginx reads its configuration in pieces of 4096 bytes, and no word may be longer."""


def as_nginx(value: Any) -> str:
    """A word of an nginx configuration; a list as several words, a boolean as `on` or `off`.

    Raises:
        ValueError: a `$`, which begins a variable also within quotes, and for which nginx knows no
            escape; or text that is too long for a word.
    """
    if isinstance(value, list | tuple):
        return " ".join(as_nginx(item) for item in value)
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    if "$" in text:
        raise ValueError("a word of an nginx configuration holds no $")
    if _NGINX_SAFE.fullmatch(text) and len(text) <= _NGINX_LONGEST:
        return text
    word = "".join(_NGINX_ESCAPES.get(c, c) for c in text)
    if len(word.encode()) > _NGINX_LONGEST:
        raise ValueError("a word of an nginx configuration is shorter")
    return f'"{word}"'


def as_systemd(value: Any) -> str:
    """A value in a file of variables that systemd reads (`EnvironmentFile=`): between double quotes,
    where only these four characters mean something; a line break is one."""
    return '"' + re.sub(r'([\\"$`])', r"\\\1", str(value)) + '"'


_BLANKS = re.compile("[ \t-\r\x1c-\x1e\x85\u2028\u2029]+")


def _one_line(value: Any) -> str:
    """Text for people to read: blanks and line breaks as one blank, nothing that hides or steers.
    (Joiners stay: emoji and many scripts are spelled with them.)"""
    text = _HIDDEN.sub(lambda m: m[0] if m[0] in "\u200c\u200d" else " ", str(value))
    return _BLANKS.sub(" ", re.sub(r"[\x00-\x1f]", " ", text)).strip(" ")


def as_comment(value: Any) -> str:
    """Text inside a comment of one line, of whatever language: nothing that ends the line or the
    comment, and no backslash that would draw the next line in."""
    text = re.sub(r"--(?=!?>)", "-- ", _one_line(value).replace("*/", "* /"))
    return re.sub(r"[\\ ]+$", "", text)


_MARKUP = re.compile(
    r"""[\\`*\[\]<~|$]                    # markup wherever it stands
    | (?<![A-Za-z0-9])_ | _(?![A-Za-z0-9])   # no emphasis begins or ends within a word
    | &(?=\#?[A-Za-z0-9]+;)             # a character by name or number
    | ^[-+>:=] | ^\# | \#$              # list, quote, table, underline, heading
    """,
    re.VERBOSE,
)


def as_markdown(value: Any) -> str:
    """Text as a paragraph, heading or table cell of Markdown, or a part of one: shown as it is,
    without markup or HTML, and escaped only where it would be taken for that."""
    text = _MARKUP.sub(r"\\\g<0>", _one_line(value))
    return re.sub(r"^([0-9]{1,9})([.)])", r"\1\\\2", text)  # no numbered list


def as_kustomize(value: Any) -> str:
    """The value of a ConfigMap literal, as a part of a YAML double-quoted string.

    Kustomize takes one pair of quotes off the ends of a literal, so one pair is added.
    """
    return as_json(f'"{value}"')[1:-1]


FILTERS: dict[str, Callable[[Any], str]] = {
    "ansible": as_ansible,
    "comment": as_comment,
    "dockerfile": as_dockerfile,
    "hcl": as_hcl,
    "js": as_js,
    "json": as_json,
    "kustomize": as_kustomize,
    "make": as_make,
    "markdown": as_markdown,
    "nginx": as_nginx,
    "py": as_py,
    "sh": as_sh,
    "systemd": as_systemd,
    "yaml": as_yaml,
}


class QuotingExtension(Extension):
    """Brings the filters to any Jinja environment: ours, and stock copier's."""

    def __init__(self, environment: Environment):
        super().__init__(environment)
        environment.filters.update(FILTERS)
