"""Legal specs: what they may look like, and what they come to."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from generator.generate import Checked, load
from generator.problems import InputError, Problem
from generator.spec.load import read
from generator.spec.model import Spec
from generator.spec.schema import build
from generator.spec.validate import validate
from tests.golden import CASES
from tests.program import SMALLEST, gen, here

TODAY = dt.date(2026, 11, 23)
FULL = (CASES / "new-full/app.yaml").read_text("utf-8")


def _load(more: str = "", today: dt.date = TODAY) -> Checked:
    return load((SMALLEST + more).encode(), "app.yaml", today)


def _spec(more: str = "", environment: str = "prod") -> Spec:
    found = {one.name: one.spec for one in _load(more).project.environments}
    return found[environment]


def _problems(more: str, today: dt.date = TODAY) -> list[Problem]:
    try:
        return list(_load(more, today).warnings)
    except InputError as error:
        return list(error.problems)


def test_defaults() -> None:
    """The smallest spec has everything else as documented."""
    checked = _load()
    spec = checked.project.base

    assert checked.warnings == ()
    assert [environment.name for environment in checked.project.environments] == ["prod"]
    assert checked.resolved == (("server", "vm", "container"), "24", "1.36", "24.21.0")
    assert (spec.owner, spec.description, spec.account, spec.region) == (
        "unowned", "", None, "us-east-2",
    )  # fmt: skip
    assert (spec.http.port, spec.http.routes, spec.http.request_timeout) == (
        8080, ("GET /",), 15_000,
    )  # fmt: skip
    assert (spec.health.live, spec.health.ready) == ("/healthz", "/readyz")
    assert (spec.health.start, spec.health.drain) == (10_000, 20_000)
    assert (spec.config, spec.secrets) == ({}, {})
    assert (spec.resources.cpu, spec.resources.memory) == (250, 256 * 2**20)
    assert (spec.scale.min, spec.scale.max, spec.scale.cpu) == (3, 10, 60)
    assert (spec.rollout.strategy, spec.rollout.bake) == ("rolling", 60_000)
    assert (spec.rollout.max_surge, spec.rollout.max_unavailable) == ("1", "0")
    assert (spec.rollback.automatic, spec.rollback.keep) == (True, 5)
    assert (spec.traffic.balance, spec.traffic.public) == ("least_connections", True)
    assert (spec.app.path, spec.app.command) == ("app", None)


_FORMS: list[tuple[str, str, object]] = [
    ("runtime: {version: 24}", "runtime.version", "24"),
    ("runtime: {version: '24'}", "runtime.version", "24"),
    ("runtime: {language: python, version: 3.14}", "runtime.version", "3.14"),
    ('http: {port: "8081"}', "http.port", 8081),
    ("http: {port: 1024}", "http.port", 1024),
    ("http: {port: 65472}", "http.port", 65472),
    ("resources: {cpu: .5}", "resources.cpu", 500),
    ("resources: {cpu: 0.25}", "resources.cpu", 250),
    ("resources: {cpu: 2}", "resources.cpu", 2000),
    ('resources: {cpu: "2"}', "resources.cpu", 2000),
    ("resources: {cpu: 1500m}", "resources.cpu", 1500),
    ("resources: {memory: 1Gi}", "resources.memory", 2**30),
    ("resources: {memory: 65536Ki}", "resources.memory", 2**26),
    ("scale: {cpu: 1%}", "scale.cpu", 1),
    ("scale: {cpu: '100%'}", "scale.cpu", 100),
    ("scale: {min: 10000, max: 10000}", "scale.max", 10_000),
    ("rollout: {bake: 1h}", "rollout.bake", 3_600_000),
    ("rollout: {bake: 2000ms}", "rollout.bake", 2000),
    ("rollout: {bake: 0s}", "rollout.bake", 0),
    ("rollout: {max_surge: 2}", "rollout.max_surge", "2"),
    ("rollout: {max_surge: 25%}", "rollout.max_surge", "25%"),
    ("rollback: {automatic: false}", "rollback.automatic", False),
    ("rollback: {automatic: 'false'}", "rollback.automatic", False),
    ("http: {routes: [$default]}", "http.routes", ("$default",)),
    ("http: {routes: ['ANY /a/{b_1}/c', 'POST /a']}", "http.routes", ("ANY /a/{b_1}/c", "POST /a")),
    ("health: {live: /a-b_c.d~e, ready: /x/y}", "health.live", "/a-b_c.d~e"),
    ("targets: container", "targets", ("container",)),
    ("targets: [container]", "targets", ("container",)),
    ("targets: all", "targets", ("all",)),
    ("targets: [all]", "targets", ("all",)),
    ("app: {command: node 'my server.js' --x}", "app.command", ("node", "my server.js", "--x")),
    ("app: {command: [node, my server.js, 1]}", "app.command", ("node", "my server.js", "1")),
    ("app: {path: services/web/}", "app.path", "services/web"),
    ('account: "012345678901"', "account", "012345678901"),
    ("account: 112345678901", "account", "112345678901"),
    ("owner: 24", "owner", "24"),
    ("owner: 'no'", "owner", "no"),
    ("owner: null", "owner", "unowned"),
    ("owner:", "owner", "unowned"),
    ("owner: ''", "owner", ""),
    ("owner: !!str 3.10", "owner", "3.10"),
    ("description: {x: 1}".replace("{x: 1}", "a#b:c"), "description", "a#b:c"),
    ("description: >\n  one\n  two".rstrip(), "description", "one two"),
    ("http: null", "http.port", 8080),
    ("http: {port: ~}", "http.port", 8080),
    ("config: {A: 24, b_c: 1.5}", "config", {"A": "24", "b_c": "1.5"}),
    ("config: {A: true, B: ''}", "config", {"A": "true", "B": ""}),
    ("config: {A: '1_000', B: \"on\"}", "config", {"A": "1_000", "B": "on"}),
    ("config:\n  A: |\n    one\n    two\n", "config", {"A": "one\ntwo\n"}),
    ('config: {A: "\\t\\n\\u2028"}', "config", {"A": "\t\n\u2028"}),
    ("targets: container\nconfig: {A: " + "x" * 32768 + "}", "config", {"A": "x" * 32768}),
    ("config: {A: &x one, B: *x}", "config", {"A": "one", "B": "one"}),
    ("scale: &s {min: 2}\nconfig: {A: x}", "scale.min", 2),
    ("container: {kubernetes: 1.36}", "container.kubernetes", "1.36"),
    ("traffic: {public: false}", "traffic.public", False),
    ("links: []\ndisks: []\ntemplates: []", "links", ()),
    ("server: {os: debian}\nvm: {architecture: x86_64}", "server.os", "debian"),
]


@pytest.mark.parametrize(("more", "key", "value"), _FORMS)
def test_forms(more: str, key: str, value: object) -> None:
    """What people write for a value means what they think."""
    found: Any = _spec(more + "\n")
    for part in key.split("."):
        found = getattr(found, part)

    assert found == value


def test_sections_merge_into_others() -> None:
    """A merge key brings in what a section does not set itself, the first mapping winning."""
    spec = _spec(
        "environments:\n"
        "  small: &small {scale: {min: 1, max: 2}, owner: small}\n"
        "  other: &other {owner: other, region: eu-west-1}\n"
        "  prod: {<<: [*small, *other], description: mine}\n"
    )

    assert (spec.scale.max, spec.owner, spec.region, spec.description) == (
        2, "small", "eu-west-1", "mine",
    )  # fmt: skip


BASE = """\
owner: base
config: {A: a, B: b}
secrets:
  TOKEN: {aws_secret: base/token, kms_key: "arn:aws:kms:us-east-2:111122223333:key/a"}
scale: {min: 2, max: 20}
"""


@pytest.mark.parametrize(
    ("overlay", "check"),
    [
        ("", lambda spec: spec.owner == "base" and spec.scale.max == 20),
        ("{scale: {min: 4}}", lambda spec: (spec.scale.min, spec.scale.max) == (4, 20)),
        ("{scale: {max: null}}", lambda spec: (spec.scale.min, spec.scale.max) == (2, 10)),
        ("{scale: null}", lambda spec: (spec.scale.min, spec.scale.max) == (3, 10)),
        ("{owner: null}", lambda spec: spec.owner == "unowned"),
        ("{config: {B: x, C: c}}", lambda spec: spec.config == {"A": "a", "B": "x", "C": "c"}),
        ("{config: {A: null}}", lambda spec: spec.config == {"B": "b"}),
        ("{config: null}", lambda spec: spec.config == {}),
        ("{config: {}}", lambda spec: spec.config == {"A": "a", "B": "b"}),
        (
            "{secrets: {TOKEN: {aws_parameter: /t}}}",
            lambda spec: (
                (
                    spec.secrets["TOKEN"].aws_secret,
                    spec.secrets["TOKEN"].aws_parameter,
                    spec.secrets["TOKEN"].kms_key,
                )
                == (None, "/t", None)
            ),
        ),
        ("{secrets: {TOKEN: null}}", lambda spec: spec.secrets == {}),
    ],
)
def test_environments(overlay: str, check: Any) -> None:
    """Mappings merge, lists and secret references replace, null gives the default back."""
    more = f"{BASE}environments:\n  stage: {overlay}\n  prod:\n"

    assert check(_spec(more, "stage"))
    assert _spec(more, "prod") == _load(more).project.base


def test_lists_replace() -> None:
    """A list of an environment stands in place of the one above it."""
    text = (
        SMALLEST + "container: {api_cidrs: [10.0.0.0/8, 192.0.2.0/24]}\n"
        "environments: {stage: {container: {api_cidrs: [203.0.113.0/24]}}}\n"
    )
    document, problems = read(text.encode(), "app.yaml")

    project, more = validate(document)

    assert problems == more == []
    assert project.environments[0].spec.container.api_cidrs == ("203.0.113.0/24",)


_NAMES = [
    ("Sample-App", "Try sample-app."),
    ("sample_app", "Try sample-app."),
    ("1app", "Try app."),
    ("-app", "Try app."),
    ("app-", "Try app."),
    ("a--b", "Try a-b."),
    ("my app", "Try my-app."),
    ("../x-ray", "Try x-ray."),
    ("a/b", "Try a-b."),
    ("con", "Try con-app."),
    ("\u00dcber-App", "Try uber-app."),
    ("\uff41\uff50\uff50", "Try app."),
    ("a" * 25, f"Try {'a' * 24}."),
    ("a", "Write a name: 2 to 24"),
    ("", "Write a name: 2 to 24"),
    ("\u0430pp", "Write a name: 2 to 24"),
    ("\u4e2d\u6587", "Write a name: 2 to 24"),
]


@pytest.mark.parametrize(("name", "fix"), _NAMES)
def test_names(name: str, fix: str) -> None:
    """A name that cannot be used is answered by the rule and, where there is one, a near name."""
    text = f"gen: 1\nname: {json.dumps(name)}\n"
    with pytest.raises(InputError) as caught:
        load(text.encode(), "app.yaml", TODAY)

    (problem,) = caught.value.problems
    assert problem.fix.startswith(fix)
    assert problem.code == "bad-name"


_PATHS = [
    ("healthz", "does not start with /"),
    ("", "does not start with /"),
    ("/a b", "has ' '"),
    ("/a?b", "has '?'"),
    ("/a#b", "has '#'"),
    ("/a%20b", "has '%'"),
    ("/a//b", "has //"),
    ("/a/../b", "has . or .. as a segment"),
    ("/.", "has . or .. as a segment"),
    ("/a/", "ends in /"),
    ("/\u00fc", "has '\u00fc'"),
    ("/a\tb", "has"),
    ("/" + "a" * 200, "is longer than"),
    ("/{id}", "has '{'"),
    ("/$x", "has '$'"),
]


@pytest.mark.parametrize(("path", "says"), _PATHS)
def test_paths(path: str, says: str) -> None:
    """A path that some proxy would read otherwise is refused, with what is wrong in it."""
    (problem,) = _problems(f"health: {{live: {json.dumps(path)}}}\n")

    assert says in problem.summary
    assert problem.field == "health.live"


@pytest.mark.parametrize("port", ["0", "80", "443", "1023", "65536", "-1", "8080.5", "0x1f90", "08080", "1e4", "http", "99999999999999999999999"])  # fmt: skip
def test_ports(port: str) -> None:
    """A port out of range, or in a form that is read in two ways, is refused with the range."""
    (problem,) = _problems(f"http: {{port: {port}}}\n")

    assert "from 1024 to 65535" in problem.fix
    assert port in problem.summary
    assert ("Ports below 1024 need root" in problem.detail) == (port in {"0", "80", "443", "1023"})


_DATES = [
    ("runtime: {version: '22'}", dt.date(2026, 11, 23), "version-ends-soon", "2027-04-30"),
    ("runtime: {version: '22'}", dt.date(2027, 4, 30), "version-ends-soon", "2027-04-30"),
    ("runtime: {version: '22'}", dt.date(2027, 5, 1), "version-ended", "2027-04-30"),
    ("runtime: {version: '20'}", dt.date(2026, 11, 23), "version-ended", "2026-04-30"),
    ("runtime: {version: '19'}", dt.date(2026, 11, 23), "unknown-version", "19"),
    ("runtime: {language: python, version: '3.10'}", dt.date(2026, 11, 23), "version-ended", "2026-10-31"),
    ("container: {kubernetes: '1.34'}", dt.date(2026, 11, 23), "version-ends-soon", "2026-12-02"),
    ("container: {kubernetes: '1.33'}", dt.date(2026, 11, 23), "version-ended", "2026-07-29"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "today", "code", "says"), _DATES)
def test_support(more: str, today: dt.date, code: str, says: str) -> None:
    """A version near its end is warned about and one past it refused, with the day."""
    (problem,) = _problems(more + "\n", today)

    assert problem.code == code
    assert says in problem.summary
    assert problem.warning == (code == "version-ends-soon")
    assert re.search(r"Choose one of .*\d|Plan the move to \d", problem.fix)


def test_no_warning_without_a_choice() -> None:
    """A spec that leaves the versions to gen is not warned about them."""
    assert _load(today=dt.date(2027, 4, 1)).warnings == ()


def _yaml(text: str) -> Any:
    """A document as an editor reads it, by YAML 1.2."""
    return YAML(typ="safe", pure=True).load(text)


def _legal() -> Iterator[tuple[str, str]]:
    yield "smallest", SMALLEST
    for case in sorted(CASES.glob("new-*/app.yaml")):
        yield case.parent.name, case.read_text("utf-8")


def _schema() -> jsonschema.Draft202012Validator:
    outcome = here("schema")
    return jsonschema.Draft202012Validator(json.loads(outcome.stdout))


def test_schema_is_the_model() -> None:
    """`gen schema` prints the schema of the model as it is, and that is a JSON Schema."""
    outcome = here("schema")

    assert outcome.stdout == build()
    jsonschema.Draft202012Validator.check_schema(json.loads(outcome.stdout))


@pytest.mark.parametrize(("name", "text"), [*_legal()])
def test_schema_takes_what_gen_takes(name: str, text: str) -> None:
    """Every spec that gen takes in the cases, an editor takes too."""
    errors = [error.message for error in _schema().iter_errors(_yaml(text))]

    assert errors == [], name


def test_starter(tmp_path: Path) -> None:
    """The app.yaml of a new project is as the schema wants it, and names the schema for editors."""
    assert here("new", "my-app", "--dir", str(tmp_path / "out")).code == 0
    text = (tmp_path / "out/app.yaml").read_text("utf-8")

    assert not list(_schema().iter_errors(_yaml(text)))
    assert load(text.encode(), "app.yaml", TODAY).warnings == ()
    named = re.search(r"yaml-language-server: \$schema=(\S+)", text)
    assert named
    assert (tmp_path / "out" / named[1]).read_text("utf-8") == build()


@pytest.mark.parametrize(
    "more",
    [
        "ower: x",
        "http: {prot: 1}",
        "http: {port: 80}",
        "scale: {min: 0}",
        "secrets: {A: {aws_secrets: x}}",
        "secrets: {A: value}",
        "environments: {stage: {ower: x}}",
        "environments: {stage: {targets: [container]}}",
        "environments: {stage: {http: {port: 9000}}}",
        "environments: {stage: {vm: {architecture: arm64}}}",
        "environments: {Stage: {}}",
        "targets: [k8s]",
        "gen: 2",
        "health: {start: 10}",
        "rollback: {automatic: 'yes'}",
        "links: [x]",
    ],
)
def test_schema_refuses(more: str) -> None:
    """What an editor can know to be wrong, it is told."""
    data = {**_yaml(SMALLEST), **_yaml(more)}

    assert list(_schema().iter_errors(data))
    assert _problems_of(data)


def _problems_of(data: object) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        load(json.dumps(data).encode(), "app.yaml", TODAY)
    return list(caught.value.problems)


def test_every_key_is_documented() -> None:
    """Each key of the schema says what it is for."""

    def keys(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, below in schema.get("properties", {}).items():
            yield f"{path}.{name}", below
            yield from keys(below, f"{path}.{name}")

    schema = json.loads(build())
    found = dict(keys(schema, ""))

    assert len(found) > 60
    assert [path for path, below in found.items() if not below.get("description")] == []


def test_every_key_can_be_set() -> None:
    """The full spec sets each section that the container approach honours, and nothing is refused
    for lack of a target."""
    sections = json.loads(build())["properties"].keys()
    later = {"links", "disks", "templates", "network"}
    other_targets = {"server", "vm", "serverless"}

    assert sections - _yaml(FULL).keys() == later | other_targets
    assert load(FULL.encode(), "app.yaml", TODAY).warnings == ()


def test_a_section_without_its_target_is_told(tmp_path: Path) -> None:
    """Options of an approach that is not chosen are legal, and said to have no effect."""
    (tmp_path / "app.yaml").write_text(
        SMALLEST
        + "targets: [container]\nvm: {instance_type: t3.large}\nserver: {os: amazon_linux}\n"
    )

    outcome = gen("new", "--spec", "app.yaml", "--dir", "out", "--format", "json", cwd=tmp_path)

    problems = json.loads(outcome.stdout)["problems"]
    assert outcome.returncode == 0
    assert [(p["code"], p["field"], p["severity"], p["line"]) for p in problems] == [
        ("no-effect", "vm", "warning", 4)
    ]
