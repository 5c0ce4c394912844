"""Numbers and units of the spec, each in base units inside: milliseconds, bytes, millicores."""

from __future__ import annotations

import re
from collections.abc import Callable

from generator.spec.types import Is, Wrong, shown, text_of


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
    elif text and (match := re.fullmatch(r"([0-9]{0,3})(?:\.([0-9]{1,3}))?", text)):
        amount = int(match[1] or 0) * 1000 + int((match[2] or "0").ljust(3, "0"))
    else:
        raise Wrong(
            "not-a-cpu",
            f"expected CPU, found {shown(value)}",
            "Write thousandths (250m) or cores (0.25).",
        )
    if not 10 <= amount <= 64_000:
        raise Wrong(
            "out-of-range", f"{shown(text)} is not between 10m and 64 cores", "Choose 10m to 64."
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


def _surge(value: object) -> str:
    text = text_of(value)
    if text.endswith("%"):
        return "0%" if text == "0%" else f"{percent(text)}%"
    return str(whole(0, 1000)(text))


def number(low: int, high: int, why_low: str = "") -> Is:
    return Is(whole(low, high, why_low), {"type": "integer", "minimum": low, "maximum": high})


def _unit(check: Callable[[object], int], regex: str, *examples: object) -> Is:
    return Is(check, {"type": "string", "pattern": f"^{regex}$", "examples": list(examples)})


_CPU_FORM = r"([1-9][0-9]{0,5}m|[0-9]{0,3}(\.[0-9]{1,3})?)"
_SURGE_FORM = "^[0-9]{1,3}%?$"
DURATION = _unit(duration, r"(0|[1-9][0-9]{0,6})(ms|s|m|h)", "15s")
SIZE = _unit(size, r"[1-9][0-9]{0,6}(Ki|Mi|Gi)", "256Mi")
PERCENT = _unit(percent, r"([1-9][0-9]?|100)%", "60%")
CPU = Is(cpu, {"anyOf": [{"type": "string", "pattern": f"^{_CPU_FORM}$"}, {"type": "number"}]})
SURGE = Is(
    _surge,
    {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SURGE_FORM}]},
)
