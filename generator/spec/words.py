"""Words of the spec with a grammar of their own: names, paths, routes, variables, free text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

from generator.spec.types import Is, Wrong, dns_label, pattern, shown, text_of

_WINDOWS_DEVICES = re.compile(r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])")


def app_name(value: object) -> str:
    text = pattern(
        "bad-name",
        r"[a-z]([a-z0-9-]{0,22}[a-z0-9])",
        "a name: 2 to 24 lower-case letters, digits and single hyphens, starting with a letter",
        dns_label(24),
    )(value)
    if "--" in text or _WINDOWS_DEVICES.fullmatch(text):
        better = re.sub("-+", "-", text) if "--" in text else text + "-app"
        raise Wrong(
            "bad-name",
            f"{text!r} cannot be used as a name",
            f"Try {better}.",
            "Amazon ECR takes no double hyphen in a repository name."
            if "--" in text
            else "Windows reserves this word.",
        )
    return text


RESERVED_ENVIRONMENTS = ("base", "shared")


def environment_name(value: object) -> str:
    text = pattern(
        "bad-environment-name",
        r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?",
        "an environment name: 1 to 12 lower-case letters, digits and hyphens, starting with a letter",
        dns_label(12),
    )(value)
    if text in RESERVED_ENVIRONMENTS or "--" in text or _WINDOWS_DEVICES.fullmatch(text):
        raise Wrong(
            "bad-environment-name",
            f"{text!r} cannot name an environment",
            "Choose another name, such as prod.",
            "base and shared are folders of the output."
            if text in RESERVED_ENVIRONMENTS
            else "Windows reserves this word."
            if _WINDOWS_DEVICES.fullmatch(text)
            else "A double hyphen marks an encoded host name.",
        )
    return text


def http_path(value: object) -> str:
    """An absolute path of plain segments, as a health check may have it."""
    text = text_of(value)
    problem = _path_problem(text)
    if problem:
        raise Wrong(
            "bad-path",
            f"the path {shown(text)!r} {problem}",
            "Write an absolute path of letters, digits, - . _ ~, such as /healthz.",
        )
    return text


def _path_problem(text: str) -> str:
    problem = ""
    if not text.startswith("/"):
        problem = "does not start with /"
    elif len(text) > 200:
        problem = "is longer than 200 characters"
    elif "//" in text:
        problem = "has //"
    elif any(part in (".", "..") for part in text.split("/")):
        problem = "has . or .. as a segment"
    elif not re.fullmatch(r"/[A-Za-z0-9._~/-]*", text):
        odd = next(c for c in text if not re.fullmatch(r"[A-Za-z0-9._~/-]", c))
        problem = f"has {shown(odd)!r}"
    elif len(text) > 1 and text.endswith("/"):
        problem = "ends in /"
    return problem


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "ANY")
_ROUTE_RULE = "Write METHOD /path, such as GET /photos/{id}, ANY /files, or $default."


def route(value: object) -> str:
    """`GET /photos/{id}`, `ANY /files` or `$default`."""
    text = text_of(value)
    if text == "$default":
        return text
    method, _, path = text.partition(" ")
    if not path or method not in METHODS:
        why = (
            f"there is no method {shown(method)!r}; methods are {', '.join(METHODS)}"
            if method.upper() not in METHODS
            else f"write the method in capitals: {method.upper()}"
            if method not in METHODS
            else "the path is missing"
        )
        raise Wrong("bad-route", f"{shown(text)!r} is not a route: {why}", _ROUTE_RULE)
    variables = re.findall(r"\{([^{}]*)\}", path)
    bad = next((v for v in variables if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,31}", v)), None)
    if bad is not None:
        raise Wrong(
            "bad-route",
            f"{shown(bad)!r} cannot name a path variable",
            "Name it with letters, digits and _, starting with a letter: {id}.",
        )
    if len(set(variables)) < len(variables):
        raise Wrong(
            "bad-route", f"{shown(text)!r} names a variable twice", "Give each its own name."
        )
    if not all(re.fullmatch(r"[^{}]*|\{[^{}]*\}", part) for part in path.split("/")):
        raise Wrong(
            "bad-route", f"in {shown(text)!r} a variable is not a whole segment", _ROUTE_RULE
        )
    problem = _path_problem(re.sub(r"\{[^{}]*\}", "x", path))
    if problem:
        raise Wrong(
            "bad-route",
            f"the path of {shown(text)!r} {problem}",
            "Write an absolute path of letters, digits, - . _ ~, such as /photos/{id}.",
        )
    return text


_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RESERVED_VARIABLES = [
    "PORT",
    "HOST",
    "PATH",
    "HOME",
    "USER",
    "SHELL",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "PYTHONHOME",
    "APP_VERSION",
    "SHUTDOWN_DELAY",
]
RESERVED_PREFIXES = ("LD_", "DYLD_", "AWS_", "LAMBDA_", "_")


def variable_name(value: object) -> str:
    """The name of an environment variable that is free for the app to use."""
    text = text_of(value)
    if not _ENV_NAME.fullmatch(text) or len(text) > 100:
        better = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")[:90]
        better = f"APP_{better}" if better[:1].isdigit() else better
        raise Wrong(
            "bad-variable-name",
            f"{shown(text)!r} is not the name of an environment variable",
            f"Use letters, digits and _, not starting with a digit{f': {better}' if better else ''}.",
        )
    prefix = next((p for p in RESERVED_PREFIXES if text.startswith(p)), None)
    if text in RESERVED_VARIABLES or prefix:
        raise Wrong(
            "reserved-variable",
            f"{text} is reserved",
            f"Choose another name, such as APP_{text.strip('_')}.",
            f"Names that begin with {prefix} belong to the platform, the linker or the shell."
            if prefix
            else "The platform, the shell or the app's own contract sets it.",
        )
    return text


_CREDENTIALS = (
    ("an AWS access key", r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    ("a GitHub token", r"\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("a GitLab token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("a Slack token", r"\bxox[abposr]-[A-Za-z0-9-]{10,}"),
    ("a Stripe key", r"\b[sr]k_live_[A-Za-z0-9]{16,}"),
    ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("a Google API key", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("a JSON web token", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    ("a password in a URL", r"\b[a-z][a-z0-9+.-]*://[^\s/:@]*:[^\s/:@${}]+@"),
)
_CREDENTIAL_NAME = re.compile(
    r"(?i)(.*_)?(password|passwd|secret|secret_key|private_key|access_key|api_key|token|credentials?)"
)


def config_value(value: object) -> str:
    """A configuration value: any text without control characters other than tab and newline."""
    if value is None:
        raise Wrong("no-value", "there is no value here", 'Write one; empty text is "".')
    text = text_of(value)
    if len(text.encode()) > 32 * 1024:
        raise Wrong("too-long", "the value is longer than 32 KiB", "Ship it as a file of the app.")
    bad = re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)
    if bad:
        raise Wrong(
            "control-character",
            f"the value holds the control character U+{ord(bad.group()):04X}",
            "Remove it; tab and newline are the only ones allowed.",
        )
    return text


def credential(name: str, value: str) -> str:
    """What kind of credential a variable looks like, by its value or its name; mostly none."""
    for what, form in _CREDENTIALS:
        if re.search(form, value):
            return what
    plain = re.fullmatch(r"true|false|[0-9.]*", value)
    if _CREDENTIAL_NAME.fullmatch(name) and not plain and not re.search(r"\s", value):
        return "a credential, by its name"
    return ""


def free_text(longest: int) -> Callable[[object], str]:
    """A validator for one line of free text for people: owner, description."""

    def check(value: object) -> str:
        text = text_of(value).rstrip("\n")  # the end of a block (`>`) is no part of the text
        if len(text) > longest:
            raise Wrong("too-long", f"longer than {longest} characters", "Shorten it.")
        if "\n" in text:
            raise Wrong("line-break", "the text has more than one line", "Write one line.")
        bad = re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text)
        if bad:
            raise Wrong(
                "control-character",
                f"the text holds the control character U+{ord(bad.group()):04X}",
                "Write one line of plain text.",
            )
        return text

    return check


def ipv4_range(value: object) -> str:
    """An IPv4 network in CIDR form, host bits zero."""
    import ipaddress

    text = text_of(value)
    try:
        return str(ipaddress.IPv4Network(text))
    except ValueError as error:
        raise Wrong(
            "bad-cidr",
            f"{shown(text)!r} is not an IPv4 range: {error}",
            "Write one like 203.0.113.0/24.",
        ) from None


def relative_folder(value: object) -> str:
    """A folder inside the project."""
    text = text_of(value).rstrip("/")
    parts = text.split("/")
    if (
        not text
        or len(text) > 100
        or not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", part) for part in parts)
        or parts[0] in ("k8s", "tofu", "packer", "ansible", "lambda", "releases", "build")
    ):
        raise Wrong(
            "bad-folder",
            f"{shown(text)!r} cannot be the folder of the app",
            "Write a folder inside the project that gen does not use itself, such as app or services/web.",
        )
    return text


def command_words(value: object) -> tuple[str, ...]:
    """A command as a list of words, or as one string split as a shell splits words."""
    if isinstance(value, list | tuple):
        words = [text_of(word) for word in value]
    else:
        try:
            words = shlex.split(text_of(value))
        except ValueError as error:
            raise Wrong(
                "bad-command",
                f"the command cannot be split: {error}",
                "Close the quote, or write a list.",
            ) from None
    if not words or not words[0]:
        raise Wrong("bad-command", "the command is empty", "Write the program and its arguments.")
    if any(re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", word) for word in words):
        raise Wrong(
            "control-character",
            "the command holds a line break or another control character",
            "Put the lines into a script of the app and start that.",
        )
    return tuple(words)


def format_one(value: object) -> int:
    """The version of the spec format, of which there is one so far."""
    if not (isinstance(value, str | int) and str(value) == "1"):
        raise Wrong(
            "unknown-format",
            f"this gen reads spec format 1, not {shown(value)}",
            "Write gen: 1, or install a gen that knows the format.",
        )
    return 1


COMMAND = Is(
    command_words,
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
)
