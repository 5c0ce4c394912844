"""The role nginx on servers of both systems: what it makes, what it refuses, and what a drain costs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests import tools
from tests.live.containers import wait_until
from tests.live.engine import Engine
from tests.live.http import Target
from tests.live.load import Load
from tests.live.project import new_project
from tests.live.servers import Done, Server, Servers, servers

_SPEC = """\
gen: 1
name: sample-app
owner: "{{ owner }} #1: \\"web\\""
targets: server
environments:
  prod:
"""
_PLAYBOOK = "configure_nginx_playbook.yml"
# A stand-in of the app: says who it is and what it was sent, hangs up, takes its time.
_APP = """\
import http.server, json, sys, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    busy = hung_up = 0

    def do_GET(self):
        if self.path == "/hang-up":
            type(self).hung_up += 1
            self.close_connection = True
            return
        if self.path.startswith("/slow"):
            type(self).busy += 1
            time.sleep(6)
            type(self).busy -= 1
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = {"who": sys.argv[1:], "headers": dict(self.headers), "filler": "x" * 2000}
        body = json.dumps({**said, "busy": self.busy, "hung_up": self.hung_up}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *arguments):
        pass

http.server.ThreadingHTTPServer.request_queue_size = 100
http.server.ThreadingHTTPServer(("", int(sys.argv[2])), Handler).serve_forever()
"""
# What no program would send: text that is not UTF-8, quotes, control characters, no version.
_ODD = r"""
import socket

for sent in (
    b'GET /"\\%22%5c?q="\xff\x01 HTTP/1.1\r\nHost: x\r\nUser-Agent: "\\\x80{}\r\nConnection: close\r\n\r\n',
    b"GET /old\r\n",
    b"\x16\x03\x01\r\n\r\n",
):
    with socket.create_connection(("127.0.0.1", 80)) as connection:
        connection.sendall(sent)
        while connection.recv(9999):
            pass
"""
_PORTS = (8080, 8081)
_BACKEND = """\
- hosts: app-1
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: nginx
        tasks_from: backend
        apply: {delegate_to: "{{ item }}"}
      loop: "{{ groups.nginx_instances }}"
      vars:
        nginx_backend_name: "{{ inventory_hostname }}"
        nginx_backend_addresses: ["{{ private_address }}:8080", "{{ private_address }}:8081"]
        nginx_backend_state: "{{ state }}"
"""


class Site:
    """A generated project, two app servers with the stand-in, two balancers."""

    def __init__(self, its: Servers, project: Path) -> None:
        self.servers = its
        self.ansible = project / "ansible"
        self.balancer = its.balancers[0]

    def play(self, *options: str, playbook: str = _PLAYBOOK) -> Done:
        command = ("ansible-playbook", "-i", "inventories/prod", playbook, *options)
        return self.servers.run(self.ansible, *command)

    def configure(self, **variables: Any) -> Done:
        """Configure the first balancer; the second would be the same again."""
        return self.well("-e", json.dumps(variables), "--limit", "sample_app_instances,nginx-1")

    def well(self, *options: str) -> Done:
        done = self.play(*options)
        assert done.code == 0, done.output
        return done

    def backend(self, state: str, *options: str) -> Done:
        done = self.play("-e", f"state={state}", *options, playbook="backend_playbook.yml")
        assert done.code == 0, done.output
        return done

    def curl(self, *arguments: str) -> str:
        """Ask the first balancer, from itself."""
        words = " ".join(f"'{argument}'" for argument in arguments)
        return self.balancer.run(f"curl --silent --max-time 30 {words}", check=False).stdout

    def status(self, url: str, *arguments: str) -> str:
        return self.curl("--output", "/dev/null", "--write-out", "%{http_code}", *arguments, url)

    def say(self, path: str = "/", *arguments: str) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.curl(*arguments, f"http://127.0.0.1{path}"))
        return said

    def load(self) -> Load:
        return Load(Target(self.balancer.address, 80), rate=50, seconds=120, keep_alive=False)

    def by_hand(self, edit: str) -> None:
        """Do to app-2 what the role's README shows: `sed`, and a reload."""
        file = "/etc/nginx/backends/app-2.conf"
        for balancer in self.servers.balancers:
            balancer.run(f"sed -i '{edit}' {file} && nginx -t && systemctl reload nginx")

    def asked(self, server: str, what: str) -> int:
        """The sum of a number that each process of a server says of itself."""
        urls = (f"http://{self.servers[server].address}:{port}/" for port in _PORTS)
        return sum(json.loads(self.curl(url))[what] for url in urls)

    def who(self, times: int = 40) -> set[str]:
        """The processes that answer, of so many requests."""
        many = self.balancer.run(
            f"for i in $(seq {times}); do curl --silent http://127.0.0.1/; echo; done"
        )
        return {":".join(json.loads(line)["who"]) for line in many.stdout.splitlines()}


@pytest.fixture(
    scope="module", params=["debian", pytest.param("amazon_linux", marks=pytest.mark.long)]
)
def either(
    request: pytest.FixtureRequest,
    engine: Engine,
    need_servers: Callable[[str], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    """What the first test finds is new; each further one finds what the one before has left."""
    need_servers(request.param)
    folder = tmp_path_factory.mktemp("nginx-role")
    project = new_project(folder, _SPEC)
    with servers(engine, folder / "servers", request.param, app=2, nginx=2) as its:
        its.write_inventory(project / "ansible/inventories/prod", "sample_app")
        (project / "ansible/backend_playbook.yml").write_text(_BACKEND)
        yield Site(its, project)


@pytest.fixture(scope="module")
def site(either: Site) -> Site:
    """For what nginx does the same wherever it runs: on the first system alone."""
    if either.servers.apps[0].user != "admin":
        pytest.skip("tried on the other system")
    return either


def _start_apps(site: Site) -> None:
    for server in site.servers.apps:
        server.run("mkdir -p /srv /etc/ansible/facts.d && cat > /srv/app.py", stdin=_APP)
        for port in _PORTS:
            server.run(f"systemd-run --unit app-{port} python3 /srv/app.py {server.name} {port}")
        fact = json.dumps({"ports": _PORTS})
        server.run("cat > /etc/ansible/facts.d/sample_app.fact", stdin=fact)


def _is_untouched(balancer: Server) -> bool:
    paths = "/etc/nginx /etc/systemd/system/nginx.service.d"
    return not balancer.run(f"ls -d {paths} 2> /dev/null", check=False).stdout


def test_it_stops_before_it_changes_anything(either: Site) -> None:
    """Where no app server has said where it listens; and where certificate and key are missing."""
    nobody = either.play()
    unsafe = either.play("-e", "nginx_host=app.example.com")
    wrong = either.play("-e", "nginx_host='a b;'")

    assert nobody.code != 0
    assert "Run the playbook that configures the app servers" in nobody.output
    assert unsafe.code != 0
    assert "nginx_tls_certificate (PEM, with its chain)" in unsafe.output
    assert wrong.code != 0
    assert "the name of an app server is not valid" in wrong.output
    assert all(map(_is_untouched, either.servers.balancers))


def test_a_preview_of_a_new_balancer(either: Site) -> None:
    """It ends well and leaves the balancer as it is."""
    done = either.play("--check", "--diff")

    assert done.code == 0, done.output
    assert all(map(_is_untouched, either.servers.balancers))


def test_a_drain_does_nothing_to_a_balancer_that_is_not_configured_yet(site: Site) -> None:
    assert not site.backend("down").changed
    assert all(map(_is_untouched, site.servers.balancers))


def test_a_second_run_changes_nothing(either: Site) -> None:
    """Nor does a preview, which shows what it would change in the files."""
    _start_apps(either)
    first = either.well()
    second = either.well()
    preview = either.play("--check", "--diff", "-e", "nginx_body_size=7m")

    assert first.changed.keys() == {"nginx-1", "nginx-2"}
    assert not second.changed, second.output
    assert preview.code == 0, preview.output
    assert "client_max_body_size 7m;" in preview.output
    for balancer in either.servers.balancers:
        assert balancer.run("nginx -t 2>&1").stdout.count("\n") == 2
        assert "7m" not in balancer.run("cat /etc/nginx/nginx.conf").stdout
        assert balancer.run("systemctl is-enabled nginx logrotate.timer").stdout.split() == [
            "enabled",
            "enabled",
        ]


def test_it_spreads_requests_and_tells_the_app_of_the_client(either: Site) -> None:
    """All processes of all servers answer; what a client says of itself is not believed."""
    said = either.say(
        "/a?b=c", "--header", "X-Forwarded-For: 6.6.6.6", "--header", "X-Request-ID: x"
    )
    headers = said["headers"]

    assert either.who() == {f"app-{i}:{port}" for i in (1, 2) for port in _PORTS}
    assert headers["Host"] == headers["X-Forwarded-Host"] == "127.0.0.1"
    assert headers["X-Forwarded-For"] == headers["X-Real-IP"] == "127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
    assert len(headers["X-Request-ID"]) == 32
    assert "Connection" not in headers


def test_what_is_not_for_the_public(site: Site) -> None:
    """Health and version are hidden, however they are spelled; the balancer itself sees them."""
    for path in ("/healthz", "/readyz", "/version"):
        for spelled in (
            path,
            f"{path}/",
            f"{path}?a=b",
            f"/%{ord(path[1]):x}{path[2:]}",
            f"/.{path}",
        ):
            assert site.status(f"http://127.0.0.1{spelled}", "--path-as-is") == "404", spelled
    assert site.status("http://127.0.0.1/healthz/x") == "200"
    assert site.curl("http://127.0.0.1/readyz") == '{"error":"not found"}'

    inside = "http://127.0.0.1:8404"
    assert site.curl(f"{inside}/healthz") == "ok\n"
    assert "Active connections" in site.curl(f"{inside}/nginx_status")
    assert json.loads(site.curl(f"{inside}/readyz"))["who"]
    assert json.loads(site.curl(f"{inside}/version"))["who"]
    assert site.status(f"{inside}/") == "404"
    assert site.status(f"http://{site.balancer.address}:8404/healthz") == "000"


def test_answers_are_pressed_and_requests_bounded(site: Site) -> None:
    assert "content-encoding: gzip" in site.curl("-si", "--compressed", "http://127.0.0.1/").lower()
    site.balancer.run("head -c 1100000 /dev/zero > /tmp/large")
    assert site.status("http://127.0.0.1/", "--data-binary", "@/tmp/large") == "413"
    assert "server: nginx\n" in site.curl("-si", "http://127.0.0.1/nowhere").lower()


def test_no_request_is_sent_twice_that_may_not_be(site: Site) -> None:
    """A GET is tried elsewhere where a process hangs up; a POST is not, once it was sent."""

    def hung_up() -> int:
        return site.asked("app-1", "hung_up") + site.asked("app-2", "hung_up")

    before = hung_up()
    assert site.status("http://127.0.0.1/hang-up", "--data", "x") == "502"
    once = hung_up()
    assert site.status("http://127.0.0.1/hang-up") == "502"

    assert once == before + 1
    assert hung_up() > once + 1


def test_every_line_of_the_log_is_json(either: Site) -> None:
    """Whatever a client sends; with the time, the server asked and what it said."""
    either.balancer.run("python3", stdin=_ODD)
    lines = either.balancer.run("cat /var/log/nginx/access.log").stdout.splitlines()
    said = [json.loads(line) for line in lines]

    assert len(said) > 40
    answered = next(one for one in said if one["status"] == "200")
    assert answered["upstream_status"] == "200"
    assert ":808" in answered["upstream"]
    assert float(answered["upstream_seconds"]) <= answered["seconds"] + 0.01
    rotated = either.balancer.run("logrotate --debug /etc/logrotate.d/nginx 2>&1").stdout
    assert "considering log /var/log/nginx/access.log" in rotated


def test_a_drain_waits_for_what_is_on_its_way(site: Site) -> None:
    """A request that the server is at is answered; then none reaches it, until it is let in again.

    Each request has a connection of its own: on a reload nginx closes idle ones, also where the next
    request of the client is just on its way (roles/nginx/README.md).
    """
    site.by_hand("s/;$/ down;/")
    with ThreadPoolExecutor() as pool, site.load() as load:
        slow = pool.submit(site.say, "/slow")
        wait_until(lambda: site.asked("app-1", "busy") == 1, "the request to arrive")
        site.by_hand("s/ down;/;/")
        drained = site.backend("down")
        was_done = slow.done()
        seen = site.who()
        let_in = site.backend("in")

    assert slow.result()["who"][0] == "app-1"
    assert was_done
    assert seen == {f"app-2:{port}" for port in _PORTS}
    assert drained.changed
    assert let_in.changed
    assert load.result.sent > 200
    assert not load.result.failed, load.result
    assert set(load.result.statuses) == {200}, load.result


@pytest.mark.long
def test_a_drained_server_stays_drained(site: Site) -> None:
    """The playbook of the balancers leaves it alone; asked again, a drain changes nothing."""
    site.configure()
    site.backend("down")

    assert not site.backend("down").changed
    assert not site.configure().changed
    assert site.who() == {f"app-2:{port}" for port in _PORTS}

    site.backend("in")
    assert not site.backend("in").changed
    assert len(site.who()) == 4


@pytest.mark.long
def test_a_change_reaches_the_servers_that_nginx_knows(site: Site) -> None:
    """New ports and limits; one that is taken out stays out, one that says nothing is left alone."""
    first, second = site.servers.apps
    site.backend("down")
    second.run("cat > /etc/ansible/facts.d/sample_app.fact", stdin=json.dumps({"ports": [8081]}))
    site.configure(nginx_backend_max_fails=7)

    assert _lines(site, first) == [
        f"server {first.address}:{port} max_fails=7 fail_timeout=5s down;" for port in _PORTS
    ]
    new = [f"server {second.address}:8081 max_fails=7 fail_timeout=5s;"]
    assert _lines(site, second) == new
    assert site.who() == {"app-2:8081"}

    second.run("rm /etc/ansible/facts.d/sample_app.fact")
    site.configure()
    assert _lines(site, second) == new

    fact = json.dumps({"ports": _PORTS})
    second.run("cat > /etc/ansible/facts.d/sample_app.fact", stdin=fact)
    site.backend("in")
    site.configure()
    assert len(site.who()) == 4


def _lines(site: Site, server: Server) -> list[str]:
    """What the first balancer knows of a server."""
    text = site.balancer.run(f"cat /etc/nginx/backends/{server.name}.conf").stdout
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_the_last_that_gets_requests_stays(site: Site) -> None:
    """One that is down is no other way; where the outage is accepted, it goes all the same."""
    site.by_hand("s/;$/ down;/")
    refused = site.play("-e", "state=absent", playbook="backend_playbook.yml")
    assert refused.code != 0
    assert "is the last server that nginx sends requests to" in refused.output
    assert site.who() == {f"app-1:{port}" for port in _PORTS}

    site.backend("absent", "-e", "nginx_backend_forced=true")
    assert site.balancer.run("ls /etc/nginx/backends").stdout == "app-2.conf\n"
    assert site.status("http://127.0.0.1/") == "502"

    site.by_hand("s/ down;/;/")
    site.backend("in")
    assert len(site.who()) == 4


def test_a_broken_configuration_takes_no_ones_place(site: Site) -> None:
    """Not the file, and not the running nginx; the next balancer is not touched at all."""
    before = [server.run("cat /etc/nginx/nginx.conf").stdout for server in site.servers.balancers]
    done = site.play("-e", json.dumps({"nginx_worker_connections": -1}))

    assert done.code != 0
    assert "invalid number" in done.output
    assert "nginx-2" not in done.recap
    after = [server.run("cat /etc/nginx/nginx.conf").stdout for server in site.servers.balancers]
    assert after == before


def test_limits_for_a_client(site: Site) -> None:
    """Above its rate a client gets 429; each environment may choose how requests are spread."""
    site.configure(nginx_rate="1r/m", nginx_rate_burst=3, nginx_balance="round_robin")

    statuses = [site.status("http://127.0.0.1/") for _ in range(6)]

    assert statuses == ["200"] * 4 + ["429"] * 2
    site.configure(nginx_connections_per_client=1)
    with ThreadPoolExecutor() as pool:
        both = {
            one.result()
            for one in [pool.submit(site.status, "http://127.0.0.1/slow") for _ in "ab"]
        }
    assert both == {"200", "429"}


def test_tls(site: Site, tmp_path: Path) -> None:
    """One name, TLS 1.2 and newer; every other name gets nothing. A new certificate is taken in one
    step, and one without its key not at all."""
    first, second = _certificate(tmp_path / "1"), _certificate(tmp_path / "2")
    site.configure(nginx_host="app.example.com", **first)
    assert not site.configure(nginx_host="app.example.com", **first).changed

    here = ("--insecure", "--resolve", "app.example.com:443:127.0.0.1")
    url = "https://app.example.com/"
    answer = site.curl("-si", "--http2", *here, url).lower()
    assert answer.startswith("http/2 200")
    assert "strict-transport-security: max-age=31536000" in answer
    assert json.loads(site.curl(*here, url))["headers"]["X-Forwarded-Proto"] == "https"
    assert site.status(url, *here, "--tls-max", "1.1") == "000"
    assert site.status(url, *here, "--tls-max", "1.2") == "200"
    assert site.status(url, *here, "--header", "Host: other.example.com") == "421"
    assert site.status("https://127.0.0.1/", "--insecure") == "000"
    assert site.status("http://127.0.0.1/") == "000"
    moved = site.curl("-si", "--header", "Host: app.example.com", "http://127.0.0.1/a?b=c")
    assert " 308 " in moved
    assert "Location: https://app.example.com/a?b=c\n" in moved

    def shown() -> str:
        command = "openssl s_client -connect 127.0.0.1:443 -servername app.example.com < /dev/null"
        return site.balancer.run(f"{command} 2> /dev/null | openssl x509").stdout.strip()

    assert shown() == first["nginx_tls_certificate"].strip()
    mixed = {**first, "nginx_tls_key": second["nginx_tls_key"]}
    done = site.play("-e", json.dumps({"nginx_host": "app.example.com", **mixed}))
    assert done.code != 0
    assert "key values mismatch" in done.output
    site.balancer.run("systemctl restart nginx")
    assert shown() == first["nginx_tls_certificate"].strip()
    changed = site.configure(nginx_host="app.example.com", **second)
    assert shown() == second["nginx_tls_certificate"].strip()
    assert "PRIVATE KEY" not in done.output + changed.output
    kept = site.balancer.run("find /etc/nginx/tls -type f -printf '%m %u\\n'").stdout
    assert kept == "600 root\n"


def _certificate(folder: Path) -> dict[str, str]:
    folder.mkdir()
    options = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=x"
    )
    files = ("-keyout", "key.pem", "-out", "pem")
    subprocess.run(
        ["openssl", *options.split(), *files], cwd=folder, check=True, capture_output=True
    )
    certificate, key = (folder / "pem").read_text(), (folder / "key.pem").read_text()
    return {"nginx_tls_certificate": certificate, "nginx_tls_key": key}


@pytest.mark.parametrize("kind", ["plain", "tls", "limits"])
def test_gixy_finds_nothing(site: Site, kind: str, tmp_path: Path) -> None:
    """Of any severity, in what nginx reads."""
    gixy = tools.need("gixy")
    limits = {"nginx_rate": "100r/s", "nginx_connections_per_client": 9}
    chosen: dict[str, dict[str, Any]] = {
        "plain": {},
        "tls": {"nginx_host": "app.example.com", **_certificate(tmp_path / "1")},
        "limits": limits,
    }
    site.configure(**chosen[kind])
    text = site.balancer.run("cat /etc/nginx/nginx.conf").stdout
    for name in ("mime.types", "backends/app-1.conf", "backends/app-2.conf"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(site.balancer.run(f"cat /etc/nginx/{name}").stdout)
    (tmp_path / "nginx.conf").write_text(text.replace("/etc/nginx/", f"{tmp_path}/"))

    done = subprocess.run(
        [str(gixy), "--format", "json", str(tmp_path / "nginx.conf")],
        check=False,
        capture_output=True,
        text=True,
    )

    assert json.loads(done.stdout) == [], done.stdout
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_a_dead_server_costs_no_request(site: Site) -> None:
    """Its power is cut: requests wait for the connection that does not come, and go elsewhere."""
    site.configure()
    with site.load() as load:
        site.servers["app-2"].kill()
        seen = site.who(100)
    site.configure()

    assert not load.result.failed, load.result
    assert set(load.result.statuses) == {200}, load.result
    assert f"app-1:{_PORTS[0]}" in seen
    kept = site.balancer.run("ls /etc/nginx/backends").stdout.split()
    assert kept == ["app-1.conf", "app-2.conf"]


@pytest.mark.long
def test_a_server_that_left_the_inventory_is_forgotten(site: Site) -> None:
    inventory = site.ansible / "inventories/prod/servers.yml"
    shutil.copy(inventory, inventory.with_suffix(".before"))
    left = inventory.read_text().replace("app-2:", "app-3:")
    inventory.with_suffix(".before").unlink()
    inventory.write_text(left)
    site.configure()

    assert site.balancer.run("ls /etc/nginx/backends").stdout == "app-1.conf\n"
    assert site.who() == {f"app-1:{port}" for port in _PORTS}
    last = site.play("-e", "state=absent", playbook="backend_playbook.yml")
    assert last.code != 0
    assert "is the last server that nginx sends requests to" in last.output
    assert site.status("http://127.0.0.1/") == "200"

    # nginx has no upstream without a server, so this one stays, without requests.
    assert site.backend("absent", "-e", "nginx_backend_forced=true").changed
    assert not site.backend("absent", "-e", "nginx_backend_forced=true").changed
    (left,) = {line.rpartition("=")[2] for line in _lines(site, site.servers.apps[0])}
    assert left == "5s down;"
    assert site.status("http://127.0.0.1/") == "502"
