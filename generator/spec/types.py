"""The units and words of the spec: what a value may look like, and what it becomes inside.

Each type is an `Annotated` alias: a validator that turns what the user wrote into a plain value in
base units, and the JSON Schema of what may be written. A validator raises `Wrong`, which carries
the reason and the way out; the loader adds file and line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from generator.spec.load import Scalar


class Wrong(Exception):  # noqa: N818 - a fact about a value
    """A value that breaks a rule of the spec."""

    def __init__(self, code: str, summary: str, fix: str, detail: str = ""):
        super().__init__(summary)
        self.code, self.summary, self.fix, self.detail = code, summary, fix, detail


class Is(NamedTuple):
    """What a single value must be: a check that turns what the user wrote into the value inside or
    raises `Wrong`, and the JSON Schema of what may be written."""

    check: Callable[[object], Any]
    schema: dict[str, Any]


class Listed(NamedTuple):
    """A list of such values. With `one`, a single value stands for a list of it."""

    item: Is
    least: int = 0
    most: int = 1000
    one: bool = False


class Keyed(NamedTuple):
    """A mapping of the user's own names to values, or to sections (a dataclass of the model)."""

    name: Is
    value: Is | type


Kind = Is | Listed | Keyed | type
"""What a key may hold; a type is a section of the model."""


def shown(value: object) -> str:
    """A value as part of a message: short, on one line."""
    text = value if isinstance(value, str) else str(value)
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= 60 else text[:57] + "..."


def text_of(value: object) -> str:
    """The text of a scalar, where every YAML reader would give the same text.

    Raises:
        Wrong: a list or mapping, or a scalar like `3.10`, `no`, `1_000` that some read otherwise.
    """
    if isinstance(value, Scalar):
        if not is_plain(value):
            raise Wrong(
                "ambiguous-scalar",
                f"{shown(value)} without quotes is {_reading(value)}, not this text",
                f'Write it in quotes: "{shown(value)}".',
            )
        return str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    raise Wrong(
        "not-text",
        f"expected one value, found {'a list' if isinstance(value, list | tuple) else 'a mapping'}",
        "Write a single value here.",
    )


def is_plain(scalar: Scalar) -> bool:
    """Whether every YAML reader, and the person who wrote it, sees the same text."""
    if scalar.kind == "bool":
        return scalar in ("true", "false")
    if scalar.kind == "int":
        return re.fullmatch(r"-?(0|[1-9][0-9]*)", scalar) is not None
    if scalar.kind == "float":
        return (
            re.fullmatch(r"-?[0-9]+\.[0-9]+", scalar) is not None and repr(float(scalar)) == scalar
        )
    return False


def _reading(scalar: Scalar) -> str:
    if scalar.kind == "bool":
        return "true or false to some YAML readers"
    if scalar.kind == "date":
        return "a date to YAML"
    try:
        number = int(scalar.replace("_", ""), 0) if scalar.kind == "int" else float(scalar)
    except ValueError:
        return "a number to some YAML readers"
    return f"the number {number} to YAML"


def whole(low: int, high: int, why_low: str = "") -> Callable[[object], int]:
    """A validator for whole numbers from `low` to `high`."""

    def check(value: object) -> int:
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if not re.fullmatch(r"-?(0|[1-9][0-9]*)", text):
            raise Wrong(
                "not-a-whole-number",
                f"expected a whole number, found {shown(value)}",
                f"Write a plain decimal number from {low} to {high}.",
            )
        number = int(text) if len(text) < 20 else high + 1
        if not low <= number <= high:
            reason = why_low if why_low and 0 <= number < low else ""
            raise Wrong(
                "out-of-range",
                f"{shown(text)} is not between {low} and {high}",
                f"Choose a number from {low} to {high}.",
                reason,
            )
        return number

    return check


_DURATIONS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


def duration(value: object) -> int:
    """`500ms`, `15s`, `2m`, `1h` in milliseconds."""
    text = str(value) if isinstance(value, str | int | float) else ""
    match = re.fullmatch(r"(0|[1-9][0-9]{0,6})(ms|s|m|h)", text)
    if not match:
        bare = re.fullmatch(r"[0-9]{1,6}", text)
        fix = (
            f"Write {text}s for seconds."
            if bare
            else "Write a number and a unit: 500ms, 15s, 2m, 1h."
        )
        raise Wrong("not-a-duration", f"expected a duration, found {shown(value)}", fix)
    return int(match[1]) * _DURATIONS[match[2]]


_SIZES = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def size(value: object) -> int:
    """`128Mi`, `1Gi` in bytes."""
    text = str(value) if isinstance(value, str | int | float) else ""
    match = re.fullmatch(r"([1-9][0-9]{0,6})(Ki|Mi|Gi)", text)
    if not match:
        close = re.fullmatch(r"([0-9]+)\s*([KkMmGg])(?:i?[Bb])?", text)
        fix = (
            f"Write {close[1]}{close[2].upper()}i."
            if close
            else "Write a number and a unit: 128Mi, 1Gi."
        )
        raise Wrong("not-a-size", f"expected a size, found {shown(value)}", fix)
    return int(match[1]) * _SIZES[match[2]]


def cpu(value: object) -> int:
    """`250m`, `0.25` or `.5` of a core in millicores."""
    text = str(value) if isinstance(value, str | int | float) else ""
    if match := re.fullmatch(r"([1-9][0-9]{0,5})m", text):
        amount = int(match[1])
    elif match := re.fullmatch(r"([0-9]{0,3})(?:\.([0-9]{1,3}))?", text):
        amount = int(match[1] or 0) * 1000 + int((match[2] or "0").ljust(3, "0"))
    else:
        raise Wrong(
            "not-a-cpu",
            f"expected CPU, found {shown(value)}",
            "Write thousandths (250m) or cores (0.25).",
        )
    if not 10 <= amount <= 64_000:
        raise Wrong(
            "out-of-range", f"{shown(text)} is not between 10m and 64 cores", "Choose at least 10m."
        )
    return amount


def percent(value: object) -> int:
    """`60%` as 60; from 1 to 100."""
    text = str(value) if isinstance(value, str | int | float) else ""
    match = re.fullmatch(r"(0|[1-9][0-9]{0,3})%", text)
    if not match:
        bare = re.fullmatch(r"[0-9]{1,3}", text)
        fix = f"Write {text}%." if bare else "Write a percentage: 60%."
        raise Wrong("not-a-percentage", f"expected a percentage, found {shown(value)}", fix)
    if not 1 <= int(match[1]) <= 100:
        raise Wrong("out-of-range", f"{text} is not between 1% and 100%", "Choose 1% to 100%.")
    return int(match[1])


def pattern(
    code: str, regex: str, rule: str, suggest: Callable[[str], str] | None = None
) -> Callable[[object], str]:
    """A validator for text of one form; `rule` is the form in one line."""
    compiled = re.compile(regex)

    def check(value: object) -> str:
        text = text_of(value)
        if not compiled.fullmatch(text):
            better = suggest(text) if suggest else ""
            if not compiled.fullmatch(better):
                better = ""
            raise Wrong(
                code,
                f"{shown(text)!r} is not {rule}" if text else f"empty text is not {rule}",
                f"Try {better}." if better else f"Write {rule}.",
            )
        return text

    return check


def dns_label(longest: int) -> Callable[[str], str]:
    """A suggestion: the nearest DNS label to some text."""

    def suggest(text: str) -> str:
        label = re.sub(r"[^a-z0-9]+", "-", text.lower())
        return re.sub(r"^[^a-z]+", "", label)[:longest].strip("-")

    return suggest


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
            "base and shared are folders of the output." if text in RESERVED_ENVIRONMENTS else "",
        )
    return text


def http_path(value: object) -> str:
    """An absolute path of plain segments, as a health check may have it."""
    text = text_of(value)
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
    if problem:
        raise Wrong(
            "bad-path",
            f"the path {shown(text)!r} {problem}",
            "Write an absolute path of letters, digits, - . _ ~, such as /healthz.",
        )
    return text


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
    http_path(re.sub(r"\{[^{}]*\}", "x", path))
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
        better = re.sub(r"\W", "_", text, flags=re.ASCII).lstrip("0123456789")
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
            f"Names with {prefix} belong to the platform or the linker."
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
    for what, form in _CREDENTIALS:
        if re.search(form, text):
            raise Wrong(
                "looks-like-a-secret",
                f"the value looks like {what}",
                "Keep it in AWS Secrets Manager and refer to it: secrets: {NAME: {aws_secret: path/to/it}}.",
                "What stands in the spec is written into files and committed.",
            )
    return text


def looks_secret(name: str, value: str) -> bool:
    """Whether name and value together look like a credential: a password by its name."""
    return (
        bool(_CREDENTIAL_NAME.fullmatch(name)) and len(value) >= 8 and not re.search(r"\s", value)
    )


def free_text(longest: int) -> Callable[[object], str]:
    """A validator for one line of free text for people: owner, description."""

    def check(value: object) -> str:
        text = text_of(value)
        if len(text) > longest:
            raise Wrong("too-long", f"longer than {longest} characters", "Shorten it.")
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
        or parts[0] in ("k8s", "tofu", "packer", "ansible", "lambda", "releases")
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
    if any(re.search(r"[\x00-\x08\x0b-\x1f\x7f]", word) for word in words):
        raise Wrong("control-character", "the command holds a control character", "Remove it.")
    return tuple(words)


def one_of(*words: str) -> Callable[[object], str]:
    """A validator for a closed list of words."""

    def check(value: object) -> str:
        text = text_of(value)
        if text not in words:
            raise Wrong(
                "not-one-of",
                f"{shown(text)!r} is not one of {', '.join(words)}",
                f"Write {' or '.join(words)}{nearest(text, words)}.",
            )
        return text

    return check


def nearest(word: str, words: tuple[str, ...] | list[str]) -> str:
    """`; did you mean "x"?` where something is close, else nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, words, n=1, cutoff=0.6)
    return f'; did you mean "{close[0]}"?' if close else ""


def text(check: Callable[[object], str], **schema: Any) -> Is:
    return Is(check, {"type": "string", **schema})


def choice(*words: str) -> Is:
    return Is(one_of(*words), {"type": "string", "enum": list(words)})


def number(low: int, high: int, why_low: str = "") -> Is:
    return Is(whole(low, high, why_low), {"type": "integer", "minimum": low, "maximum": high})


def form(code: str, regex: str, rule: str, suggest: Callable[[str], str] | None = None) -> Is:
    return text(pattern(code, regex, rule, suggest), pattern=f"^{regex}$")


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    raise Wrong(
        "not-true-or-false", f"expected true or false, found {shown(value)}", "Write true or false."
    )


def _surge(value: object) -> str:
    text = text_of(value)
    if text.endswith("%"):
        return "0%" if text == "0%" else f"{percent(text)}%"
    return str(whole(0, 1000)(text))


def format_one(value: object) -> int:
    """The version of the spec format, of which there is one so far."""
    if not (isinstance(value, str | int) and str(value) == "1"):
        raise Wrong(
            "unknown-format",
            f"this gen reads spec format 1, not {shown(value)}",
            "Write gen: 1, or install a gen that knows the format.",
        )
    return 1


def _unit(check: Callable[[object], int], regex: str, *examples: object) -> Is:
    return Is(check, {"type": "string", "pattern": f"^{regex}$", "examples": list(examples)})


_CPU_FORM = r"([1-9][0-9]{0,5}m|[0-9]{0,3}(\.[0-9]{1,3})?)"
_SURGE_FORM = "^[0-9]{1,3}%?$"
BOOL = Is(_boolean, {"type": "boolean"})
DURATION = _unit(duration, r"(0|[1-9][0-9]{0,6})(ms|s|m|h)", "15s")
SIZE = _unit(size, r"[1-9][0-9]{0,6}(Ki|Mi|Gi)", "256Mi")
PERCENT = _unit(percent, r"([1-9][0-9]?|100)%", "60%")
CPU = Is(cpu, {"anyOf": [{"type": "string", "pattern": f"^{_CPU_FORM}$"}, {"type": "number"}]})
SURGE = Is(
    _surge,
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SURGE_FORM}]},
)
COMMAND = Is(
    command_words,
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
)
