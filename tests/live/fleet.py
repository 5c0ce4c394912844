"""A fleet: app servers behind a balancer, and a project of gen's that configures them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.live.engine import Engine
from tests.live.http import Target
from tests.live.load import Load
from tests.live.project import build_server, new_project, release
from tests.live.servers import Done, Servers, servers

# Must come through YAML, Ansible, systemd and back.
GREETING = "Grüße! {{ x }} {% y %} \"a\" 'b' $c ${d} `e` \\f %n #g"
_SPEC = """\
gen: 1
name: sample-app
targets: [server]
runtime: {{language: {language}, version: "{version}"}}
health: {{start: 4s}}
config: {{GREETING: {greeting}}}
secrets: {{API_TOKEN: {{aws_secret: sample-app/api-token}}}}
rollout: {{bake: 3s}}
rollback: {{keep: 2}}
server: {{os: {os}}}
environments: {{prod: {{}}}}
"""
RUNTIMES = {"debian": ("nodejs", "24"), "amazon_linux": ("python", "3.13")}

# Of the generated core: says that it is ready, by file.
_WELL = {
    "core.js": 'return quietly(json(200, { status: "ready" }));',
    "core.py": 'return replace(as_json(200, {"status": "ready"}), quiet=True)',
}
# Never is, and stops to be after some seconds.
BROKEN = {
    "core.js": 'return quietly(json(503, { status: "broken" }));',
    "core.py": 'return replace(as_json(503, {"status": "broken"}), quiet=True)',
}
UNWELL = {
    "core.js": 'return quietly(json(process.uptime() > 4 ? 503 : 200, { status: "unwell" }));',
}


SECRET = {"TOKEN": "hush"}
"""The environment in which a playbook finds the secret's value."""


@dataclass
class Fleet:
    """Three app servers behind a balancer, and the project that configures them."""

    project: Path
    servers: Servers
    earlier: dict[str, Done] = field(default_factory=dict)
    """What was done before the first release stood, by name."""

    @property
    def front(self) -> Target:
        return Target(self.servers.balancers[0].address, 80)

    def make(self, *words: str) -> Done:
        """Run a goal of the Makefile for prod, as a person would type it."""
        return self.servers.run(self.project, "make", *words, "ENV=prod", env=SECRET)

    def play(self, playbook: str, *words: str, env: dict[str, str] = SECRET) -> Done:
        """Run a playbook for prod, as a person would type it; `env` has the value of the secret."""
        command = ("ansible-playbook", "-i", "inventories/prod", playbook, *words)
        return self.servers.run(self.project / "ansible", *command, env=env)

    def play_one(self, host: str, module: str, arguments: str, variables: Path) -> Done:
        """Run one module on one host."""
        command = ("ansible", "-i", "inventories/prod", host, "-b", "-m", module, "-a", arguments)
        known = [f"roles/sample_app/{part}/main.yml" for part in ("defaults", "vars")]
        files = [word for file in (*known, str(variables)) for word in ("-e", f"@{file}")]
        return self.servers.run(self.project / "ansible", *command, *files, env=SECRET)

    def release(self, version: str, become: dict[str, str] | None = None) -> None:
        """Commit, tag and pack a version whose readiness is what the table says of its core."""
        core = next(path for path in (self.project / "app").glob("core.*"))
        well = core.read_text()
        assert well.count(_WELL[core.name]) == 1
        if become:
            core.write_text(well.replace(_WELL[core.name], become[core.name]))
        release(self.project, version)
        core.write_text(well)
        build_server(self.project, version)

    def asked(self) -> str:
        """The version that the balancer's own machine is told."""
        answer = self.servers.balancers[0].run("curl --silent http://127.0.0.1:8404/version")
        return str(yaml.safe_load(answer.stdout)["version"])

    def running(self) -> list[str]:
        """The version on each app server, by its link."""
        look = "readlink /opt/sample-app/current"
        links = (one.run(look, check=False).stdout for one in self.servers.apps)
        return [link.strip().removeprefix("releases/").rpartition("-")[0] for link in links]

    def drained(self) -> str:
        """The files of the app servers that get no requests."""
        look = "grep -l ' down;' /etc/nginx/backends/*"
        return self.servers.balancers[0].run(look, check=False).stdout

    def noted(self) -> str:
        """The version that stands in the project's record."""
        record = (self.project / "releases/prod/server.yml").read_text()
        return str(yaml.safe_load(record)["version"])

    def processes(self) -> list[str]:
        """What tells the processes of each app server from those that replace them."""
        show = "systemctl show --property InvocationID --value 'sample-app@*'"
        return [one.run(show).stdout for one in self.servers.apps]

    @contextmanager
    def load(self, told: Callable[[str, object], None]) -> Iterator[None]:
        """200 requests a second, half of them on connections of their own: none may fail."""
        began = time.monotonic()
        fresh = Load(self.front, rate=100, seconds=300, keep_alive=False)
        kept = Load(self.front, rate=100, seconds=300, resends=True)
        with fresh, kept:
            yield
        seconds = time.monotonic() - began
        told("load", f"{seconds:.0f} s; new connections: {fresh.result}; kept: {kept.result}")
        for result in (fresh.result, kept.result):
            assert set(result.statuses) == {200}, result
            assert not result.failed, result
            assert result.sent > 50 * seconds, "the load was too slow to prove anything"


@contextmanager
def fleet(engine: Engine, folder: Path, mirror: Path, system: str) -> Iterator[Fleet]:
    language, version = RUNTIMES[system]
    greeting = yaml.dump(GREETING, allow_unicode=True, width=1000, default_style='"').strip()
    spec = _SPEC.format(language=language, version=version, os=system, greeting=greeting)
    project = new_project(folder, spec)
    with servers(engine, folder / "servers", system) as made, made.serving(mirror) as address:
        inventory = project / "ansible/inventories/prod"
        made.write_inventory(inventory, "sample_app")
        variables = inventory / "group_vars/sample_app_instances.yml"
        text = variables.read_text()
        lookup = (
            "lookup('amazon.aws.secretsmanager_secret', 'sample-app/api-token', region='us-east-2')"
        )
        assert lookup in text
        # No AWS here: the secret comes from another place, as the file says one may.
        text = text.replace(lookup, "lookup('ansible.builtin.env', 'TOKEN')")
        variables.write_text(f"{text}\nnodejs_app_mirror: {address}\nsample_app_start_s: 10\n")
        yield Fleet(project, made)
