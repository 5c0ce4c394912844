"""From a read document to a `Project`, with every problem of the file in one run.

A wrong value is reported, left out, and the rest is checked as if its default stood there: so one
typo hides no other mistake, and no rule reports what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count, islice
from typing import Any, NamedTuple

from generator.problems import Problem, Where
from generator.spec import rules as rulebook
from generator.spec.load import Document
from generator.spec.model import Environment, Project, Spec, build_keys
from generator.spec.parse import Path
from generator.spec.shape import Fault, dotted, shape, unknown
from generator.spec.types import Wrong
from generator.spec.words import environment_name

DEFAULT_ENVIRONMENT = "prod"
_BUILD_KEYS = build_keys()


class _Checked(NamedTuple):
    spec: Spec
    wrong: frozenset[Path]


def validate(
    document: Document, more_rules: Iterable[rulebook.Rule] = ()
) -> tuple[Project, list[Problem]]:
    """Check a document against the model and all rules.

    Returns the project and the problems, by line. Where a problem is an error, the project holds
    defaults in place of what is wrong and must not be used.
    """
    check = _Check(document, (*rulebook.RULES, *more_rules))
    project = check.project()
    return project, sorted(dict.fromkeys(check.problems), key=lambda p: p.where or Where(""))


class _Check:
    def __init__(self, document: Document, rules: tuple[rulebook.Rule, ...]):
        self.document = document
        self.rules = rules
        self.problems: list[Problem] = []

    def project(self) -> Project:
        data = {key: value for key, value in self.document.data.items() if key != "environments"}
        base = self._spec(data, lambda path: path, "")
        environments = [
            Environment(name, self._environment(name, overlay, data, base))
            for name, overlay in self._overlays().items()
        ]
        project = Project(
            base.spec, tuple(environments) or (Environment(DEFAULT_ENVIRONMENT, base.spec),)
        )
        self._one_owner_per_host(project)
        self._one_processor(project)
        self._one_account(project)
        return project

    def _overlays(self) -> dict[str, dict[str, Any]]:
        section = self.document.data.get("environments")
        if section is None:
            return {}
        if not isinstance(section, dict):
            self._add("not-a-mapping", ("environments",), "environments must map names to differences",
                      "Write `environments: {stage: {}, prod: {}}`.")  # fmt: skip
            return {}
        overlays: dict[str, dict[str, Any]] = {}
        for name, overlay in section.items():
            path: Path = ("environments", name)
            try:
                environment_name(name)
            except Wrong as wrong:
                self._wrong(wrong, path, key=True)
                continue
            if overlay is None or isinstance(overlay, dict):
                overlays[name] = overlay or {}
            else:
                self._add("not-a-mapping", path, f"environments.{name} must hold keys of the spec",
                          f"Write `{name}: {{}}` where nothing differs.")  # fmt: skip
        return overlays

    def _wrong(self, wrong: Wrong, path: Path, *, key: bool) -> None:
        self._add(wrong.code, path, wrong.summary, wrong.fix, wrong.detail, key=key)

    def _environment(
        self, name: str, overlay: dict[str, Any], data: dict[str, Any], base: _Checked
    ) -> Spec:
        above: Path = ("environments", name)
        overlay, refused = self._without_build_keys(name, overlay)

        def locate(path: Path) -> Path:
            fixed = any(path[: len(built)] == built for built in _BUILD_KEYS)
            return above + path if not fixed and above + path in self.document.positions else path

        return self._spec(_merged(data, overlay), locate, name, base.wrong, refused).spec

    def _without_build_keys(
        self, name: str, overlay: dict[str, Any]
    ) -> tuple[dict[str, Any], frozenset[Path]]:
        allowed: dict[str, Any] = _copy(overlay)
        refused: set[Path] = set()
        if "environments" in allowed:
            del allowed["environments"]
            self._add("nested-environments", ("environments", name, "environments"),
                      "an environment cannot hold environments", "Put it beside the others.", key=True)  # fmt: skip
        for path in sorted(_BUILD_KEYS):
            holder = allowed
            for part in path[:-1]:
                below = holder.get(str(part))
                holder = below if isinstance(below, dict) else {}
            if path[-1] not in holder:
                continue
            del holder[path[-1]]
            refused.add(path)
            field = ".".join(path)
            self._add(
                "build-key-in-environment",
                ("environments", name, *path),
                f"{field} cannot differ in environment {name}: it is fixed at build time",
                f"Set {field} once, above environments.",
                "One image, one AMI, one zip serve every environment, so that what was tested is what runs."
                + self._lines((path,)),
                key=True,
            )
        return allowed, frozenset(refused)

    def _spec(
        self,
        data: dict[str, Any],
        locate: Callable[[Path], Path],
        environment: str,
        known: frozenset[Path] = frozenset(),
        refused: frozenset[Path] = frozenset(),
    ) -> _Checked:
        """Shape the data, report what is wrong in it, and run the rules on the rest."""
        spec, faults = shape(Spec, _without_nulls(data))
        for fault in faults:
            at = locate(fault.path)
            if not (environment and fault.path in known and at == fault.path):
                self._wrong(_within(environment, fault), at, key=fault.on_key)
        wrong = refused.union(fault.path for fault in faults)
        for rule in self.rules:
            for found in rule(spec):
                paths = [_as_written(path, wrong) for path in (found.path, *found.others)]
                if not any(_related(path, bad) for path in paths for bad in wrong):
                    broken = found._replace(path=paths[0], others=tuple(paths[1:]))
                    self._broken(broken, locate, environment)
        return _Checked(spec, wrong)

    def _broken(
        self, broken: rulebook.Broken, locate: Callable[[Path], Path], environment: str
    ) -> None:
        paths = [locate(path) for path in (broken.path, *broken.others)]
        if environment and not any(path[:1] == ("environments",) for path in paths):
            return  # the base has it too, and was told so
        paths.sort(key=lambda path: self._blame(path, environment), reverse=True)
        self._add(
            broken.code,
            paths[0],
            (f"in environment {environment}: " if environment else "") + broken.summary,
            broken.fix,
            broken.detail + self._lines(paths[1:]),
            field=broken.path,
            warning=broken.warning,
        )

    def _blame(self, path: Path, environment: str) -> tuple[bool, bool, tuple[int, int]]:
        """Of keys that clash, the one to point at is the greatest: one that the user wrote, not a
        default; one that an environment changes; the later in the file."""
        at = self.document.positions.get(path)
        return at is not None, environment in path[1:2], at.key if at else (0, 0)

    def _lines(self, paths: Iterable[Path]) -> str:
        return "".join(
            f" ({dotted(path)} is in line {self.document.positions[path].key[0]}.)"
            for path in paths
            if path in self.document.positions
        )

    def _one_owner_per_host(self, project: Project) -> None:
        claims: dict[str, str] = {}
        chosen = project.base.targets
        for environment in project.environments:
            for target, host in environment.spec.traffic.hosts.items():
                if chosen and "all" not in chosen and target not in chosen:
                    continue  # that it has a host at all is told by a rule
                owner = claims.setdefault(host, environment.name)
                if owner == environment.name:
                    continue
                own: Path = ("environments", environment.name, "traffic", "hosts", target)
                path = own if own in self.document.positions else own[2:]
                self._add(
                    "host-claimed-twice",
                    path,
                    f"{host} is claimed by the environments {owner} and {environment.name}",
                    "Set traffic.hosts in each environment, not above them.",
                )

    def _one_processor(self, project: Project) -> None:
        """What is built once runs in all environments, so their processors are alike."""
        wanted = rulebook.architecture(project.base.server.instance_type)
        chosen = project.base.targets
        if chosen and not {"all", "server"} & set(chosen):
            return
        path: Path = ("server", "instance_type")
        for environment in project.environments:
            kind = environment.spec.server.instance_type
            if rulebook.architecture(kind) == wanted:
                continue
            self._add(
                "architecture-mismatch",
                ("environments", environment.name, *path),
                f"in environment {environment.name}: {kind} is {rulebook.architecture(kind)}, and the app is "
                f"packed once, for {wanted}",
                "Use one architecture in all environments; set server.instance_type above them.",
                f"Above the environments it is {project.base.server.instance_type}.",
                field=path,
            )

    def _one_account(self, project: Project) -> None:
        """An image that is encrypted with the key of AWS can be used in its own account alone."""
        chosen = project.base.targets
        if chosen and not {"all", "vm"} & set(chosen):
            return
        path: Path = ("account",)
        for environment in project.environments:
            if environment.spec.account == project.base.account:
                continue
            self._add(
                "not-available-yet",
                ("environments", environment.name, *path),
                f"in environment {environment.name}: an account of its own is not available for vm in this "
                "version of gen",
                "Use one account for all environments, or take vm out of targets.",
                "Its image could not be used there.",
                field=path,
            )

    def _add(
        self,
        code: str,
        path: Path,
        summary: str,
        fix: str,
        detail: str = "",
        *,
        key: bool = False,
        field: Path | None = None,
        warning: bool = False,
    ) -> None:
        where = self.document.where(path, key=key)
        name = dotted(path if field is None else field)
        self.problems.append(Problem(code, summary, fix, detail.strip(), where, name, warning))


def _within(environment: str, fault: Fault) -> Wrong:
    """What is wrong, with the environment in which it is."""
    wrong = fault.wrong
    if not environment:
        return wrong
    if wrong.summary.startswith("unknown key "):
        wrong = unknown(fault.path, _BUILD_KEYS)
    summary = f"in environment {environment}: {wrong.summary}"
    return Wrong(wrong.code, summary, wrong.fix, wrong.detail)


def _as_written(path: Path, wrong: frozenset[Path]) -> Path:
    """The path of a list's item in the file: the rules see lists without their wrong items."""
    for depth, part in enumerate(path):
        if isinstance(part, int):
            above = path[:depth]
            kept = (index for index in count() if (*above, index) not in wrong)
            path = (*above, next(islice(kept, part, None)), *path[depth + 1 :])
    return path


def _related(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value


def _without_nulls(data: dict[str, Any], above: Path = ()) -> dict[str, Any]:
    """Null means the default; only a config variable has none, so its null is kept and refused."""
    return {
        key: _without_nulls(value, (*above, key)) if isinstance(value, dict) else _copy(value)
        for key, value in data.items()
        if value is not None or above == ("config",)
    }


def _merged(base: dict[str, Any], over: dict[str, Any], above: Path = ()) -> dict[str, Any]:
    """Deep merge: mappings merge, lists and secret references replace, null removes."""
    merged = dict(base)
    for key, value in over.items():
        path = (*above, key)
        if value is None:
            merged.pop(key, None)
        elif (
            isinstance(value, dict) and isinstance(merged.get(key), dict) and above != ("secrets",)
        ):
            merged[key] = _merged(merged[key], value, path)
        else:
            merged[key] = value
    return merged
