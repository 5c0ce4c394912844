"""Data to a section of the model: every value checked, every fault collected.

A wrong value is reported and its default stands in for it, so that the rest can be checked as if
that value had not been written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from generator.spec.model import Spec, keys
from generator.spec.parse import Path
from generator.spec.types import Is, Keyed, Kind, Listed, Wrong, close, shown

_NONE = object()
_MOST = 50
"""So many unknown keys of one section are told apart."""


class Fault(NamedTuple):
    """A wrong value, or a wrong key where `on_key`; `missing` where there is none."""

    path: Path
    wrong: Wrong
    on_key: bool = False


def shape(section: type, data: Mapping[str, Any]) -> tuple[Any, list[Fault]]:
    """Make a section of data in which null stands for nothing.

    Returns the section, with defaults in place of what is wrong, and the faults.
    """
    faults: list[Fault] = []
    return _section(section, data, (), faults), faults


def _section(section: type, data: Mapping[str, Any], above: Path, faults: list[Fault]) -> Any:
    declared = keys(section)
    values: dict[str, Any] = {}
    faults += _strangers([(*above, name) for name in data if name not in declared])
    for name, held in data.items():
        if name in declared:
            value = _value(declared[name].kind, held, (*above, name), faults)
            if value is not _NONE:
                values[name] = value
    for name, one in declared.items():
        if one.required and name not in data:
            faults.append(Fault((*above, name), _missing((*above, name))))
    return section(**values)


def _strangers(paths: list[Path]) -> list[Fault]:
    faults = [Fault(path, unknown(path), on_key=True) for path in paths[:_MOST]]
    if len(paths) > _MOST:
        wrong = Wrong(
            "unknown-key",
            f"{len(paths) - _MOST} more unknown keys from here on",
            "Compare with `gen schema`: this does not look like a spec.",
        )
        faults.append(Fault(paths[_MOST], wrong, on_key=True))
    return faults


def _value(kind: Kind, held: Any, path: Path, faults: list[Fault]) -> Any:
    if isinstance(kind, Is):
        return _checked(kind, held, path, faults)
    if isinstance(kind, Listed):
        return _list(kind, held, path, faults)
    if isinstance(kind, Keyed):
        return _mapping(kind, held, path, faults)
    if isinstance(held, Mapping):
        return _section(kind, held, path, faults)
    wrong = Wrong(
        "not-a-section",
        f"{dotted(path)} is a section with keys of its own",
        f"Its keys: {', '.join(keys(kind))}.",
    )
    faults.append(Fault(path, wrong))
    return _NONE


def _checked(kind: Is, held: Any, path: Path, faults: list[Fault]) -> Any:
    try:
        return kind.check(held)
    except Wrong as wrong:
        faults.append(Fault(path, _named(path, wrong)))
        return _NONE


def _named(path: Path, wrong: Wrong) -> Wrong:
    return Wrong(wrong.code, f"{dotted(path)}: {wrong.summary}", wrong.fix, wrong.detail)


def _list(kind: Listed, held: Any, path: Path, faults: list[Fault]) -> Any:
    if kind.one and isinstance(held, str):
        held = [held]
    if not isinstance(held, list | tuple):
        wrong = Wrong(
            "not-a-list",
            f"{dotted(path)}: expected a list, found {shown(held)}",
            f'Write ["{shown(held)}"].' if isinstance(held, str) else "Write [first, second].",
        )
        faults.append(Fault(path, wrong))
        return _NONE
    if not kind.least <= len(held) <= kind.most:
        bound = f"at least {kind.least}" if len(held) < kind.least else f"at most {kind.most}"
        wrong = Wrong(
            "wrong-length",
            f"{dotted(path)} needs {bound} in the list, found {len(held)}",
            "Add some." if len(held) < kind.least else "Remove some.",
        )
        faults.append(Fault(path, wrong))
        return _NONE
    values = [_checked(kind.item, item, (*path, i), faults) for i, item in enumerate(held)]
    fine = tuple(value for value in values if value is not _NONE)
    return fine if fine or not held else _NONE


def _mapping(kind: Keyed, held: Any, path: Path, faults: list[Fault]) -> Any:
    if not isinstance(held, Mapping):
        wrong = Wrong(
            "not-a-mapping",
            f"{dotted(path)}: expected key: value pairs, found {shown(held)}",
            "Write {KEY: value}.",
        )
        faults.append(Fault(path, wrong))
        return _NONE
    values = {}
    for name, item in held.items():
        try:
            kind.name.check(name)
        except Wrong as wrong:
            faults.append(Fault((*path, name), wrong, on_key=True))
            continue
        if kind.bare and not isinstance(item, Mapping):
            faults.append(Fault((*path, name), _named((*path, name), kind.bare)))
            continue
        value = _value(kind.value, item, (*path, name), faults)
        if value is not _NONE:
            values[name] = value
    return values


def dotted(path: Path) -> str:
    """A path as messages write it: `http.routes[0]`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".")


def unknown(path: Path, fixed: frozenset[tuple[str, ...]] = frozenset()) -> Wrong:
    """What is wrong with an unknown key; `fixed` are keys that may not be set where it stands."""
    legal = _legal(path[:-1], fixed)
    meant = close(str(path[-1]), legal)
    return Wrong(
        "unknown-key",
        f"unknown key {shown(dotted(path))}" + (f"; did you mean {meant}?" if meant else ""),
        f"Legal keys here: {', '.join(legal)}.",
    )


def _legal(above: Path, fixed: frozenset[tuple[str, ...]]) -> list[str]:
    kind: Any = Spec
    for part in above:
        kind = kind.value if isinstance(kind, Keyed) else keys(kind)[str(part)].kind
    legal = [
        name
        for name, one in keys(kind).items()
        if (*above, name) not in fixed
        and not (
            isinstance(one.kind, type)
            and all((*above, name, below) in fixed for below in keys(one.kind))
        )
    ]
    return legal if above or fixed else [*legal, "environments"]


def _missing(path: Path) -> Wrong:
    example = {"gen": "1", "name": "my-app"}.get(str(path[-1]), "...")
    return Wrong("missing-key", f"{dotted(path)} is missing", f"Add `{path[-1]}: {example}`.")
