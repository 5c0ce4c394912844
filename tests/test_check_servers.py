"""`gen check` on the server approach: one finding for each seam that somebody breaks, none for edits."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path

import pytest

from generator.check.registry import CHECKS
from generator.project.check import look_at
from generator.tree import File, FileTree, RelPath
from tests.test_check import JUNK, OURS, replace, run

SPEC = """\
gen: 1
name: sample-app
owner: web team
account: "123456789012"
region: eu-west-1
targets: [server]
http: {port: 3000, request_timeout: 20s}
health: {live: /alive, ready: /ready, start: 25s, drain: 45s}
config: {GREETING: "Hello, {{ you }}", LOG_LEVEL: info, PAGE_SIZE: "50"}
secrets:
  API_TOKEN: {aws_secret: sample-app/api-token}
  DB_URL: {aws_parameter: /sample-app/db-url}
server: {os: debian, instance_type: t4g.small}
scale: {min: 3, max: 3}
rollout: {strategy: canary, bake: 2m, max_unavailable: 30%}
rollback: {automatic: true, keep: 4}
traffic: {rate_limit: 100/s, balance: round_robin}
network:
  vpc_id: vpc-0123456789abcdef0
  private_subnets: [subnet-0123456789abcdef0, subnet-0123456789abcdef1]
  public_subnets: [subnet-0123456789abcdef2]
environments:
  stage: {scale: {min: 1}, rollback: {automatic: false}, config: {LOG_LEVEL: debug}}
  prod: {traffic: {hosts: {server: app.example.com}}}
"""
PYTHON = """\
gen: 1
name: ledger
targets: [server]
runtime: {language: python, version: "3.13"}
server: {os: debian, instance_type: t3.small}
"""


def make(folder: Path, spec: str) -> Path:
    """Make a project of a spec."""
    (folder / "app.yaml").write_text(spec)
    code, report = run(folder, "new", "--spec", "app.yaml", "--dir", "project")
    assert code == 0, report
    return folder / "project"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the spec above, to be copied."""
    return make(tmp_path_factory.mktemp("servers"), SPEC)


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


A = "ansible/"
PROD = f"{A}inventories/prod/"
ALL = f"{PROD}group_vars/all.yml"
APP = f"{PROD}group_vars/sample_app_instances.yml"
NGINX = f"{PROD}group_vars/nginx_instances.yml"
EC2 = f"{PROD}inventory.aws_ec2.yml"
ROLE = f"{A}roles/sample_app/"
DEFAULTS = f"{ROLE}defaults/main.yml"
NGINX_DEFAULTS = f"{A}roles/nginx/defaults/main.yml"
CONF = f"{A}roles/nginx/templates/nginx.conf.j2"
NODEJS = f"{A}roles/nodejs_app/defaults/main.yml"
UNIT = f"{ROLE}templates/app.service.j2"
REPLACE = f"{ROLE}tasks/replace.yml"
SWITCH = f"{ROLE}tasks/switch.yml"
CONFIGURE = f"{A}configure_sample_app_playbook.yml"
ROLLBACK = f"{A}rollback_playbook.yml"
BALANCERS = f"{A}configure_nginx_playbook.yml"
GROUPS = f"{A}tasks/ec2_security_groups.yml"
LAUNCH = f"{A}tasks/ec2_launch.yml"
SCRIPT = f"{A}release.sh"
CFG = f"{A}ansible.cfg"

DB_URL = "'amazon.aws.ssm_parameter', '/sample-app/db-url', region='eu-west-1'"

# The finding is in the line that was edited, and names the key of the spec.
BREAKS = [
    ("X-01", DEFAULTS, "sample_app_port: 3000", "sample_app_port: 8080", "http.port"),
    ("X-01", ALL, "ec2_app_first_port: 3000", "ec2_app_first_port: 8080", "http.port"),
    ("X-01", ALL, "ec2_app_last_port: 3063", "ec2_app_last_port: 3001", "http.port"),
    ("X-01", UNIT, "Environment=PORT=%i", "Environment=PORT=3000", "http.port"),
    ("X-02", DEFAULTS, "live_path: /alive", "live_path: /healthz", "health.live"),
    ("X-02", DEFAULTS, "ready_path: /ready", "ready_path: /readyz", "health.ready"),
    ("X-02", NGINX_DEFAULTS, "live_path: /alive", "live_path: /healthz", "health.live"),
    ("X-02", NGINX_DEFAULTS, "ready_path: /ready", "ready_path: /readyz", "health.ready"),
    ("X-03", NODEJS, "nodejs_app_version: 24.", "nodejs_app_version: 22.", "runtime.version"),
    ("X-03", DEFAULTS, "sample_app_path:", "sample_app_path: [/usr/bin]\nno:", "runtime.version"),
    ("X-03", NODEJS, "nodejs_app_version: 24.21.0", "nodejs_app_version: 24", "runtime.version"),
    ("X-05", DEFAULTS, "stop_s: 50", "stop_s: 45", "health.drain"),
    ("X-05", UNIT, "TimeoutStopSec={{ sample_app_stop_s }}", "TimeoutStopSec=10", "health.drain"),
    ("X-06", NGINX_DEFAULTS, "idle_s: 60", "idle_s: 65", ""),
    ("X-07", NGINX_DEFAULTS, "drain_s: 45", "drain_s: 46", "health.drain"),
    ("X-07", NGINX_DEFAULTS, "drain_s: 45", "drain_s: 19", "health.drain"),
    ("X-06", CONF, "keepalive_timeout {{ nginx_keepalive_idle_s }}s", "keepalive_timeout 65s", ""),
    ("X-07", CONF, "timeout {{ nginx_drain_s }}s", "timeout 9s", "health.drain"),
    (
        "balancer",
        CONF,
        "read_timeout {{ nginx_request_timeout_s + 2 }}s",
        "read_timeout 9s",
        "http.request_timeout",
    ),
    ("X-08", DEFAULTS, "start_s: 75", "start_s: 24", "health.start"),
    ("X-10", ALL, "ec2_prefix: sample-app-prod-srv", "ec2_prefix: sample-app-stage-srv", "name"),
    ("X-10", ALL, "ec2_environment: prod", "ec2_environment: stage", "environments"),
    ("X-10", ALL, "ec2_region: eu-west-1", "ec2_region: us-east-1", "region"),
    ("X-10", ALL, 'ec2_account: "123456789012"', "ec2_account: null", "account"),
    ("X-10", EC2, "  - eu-west-1", "  - us-east-1", "region"),
    ("X-10", BALANCERS, "hosts: nginx_instances", "hosts: balancers", "name"),
    ("X-10", ROLLBACK, "hosts: sample_app_instances", "hosts: sample_app", "name"),
    ("X-11", ALL, "ec2_app_servers: 3", "ec2_app_servers: 2", "scale.min"),
    ("X-12", APP, "architecture: aarch64", "architecture: x86_64", "server.instance_type"),
    (
        "X-12",
        ALL,
        "app_instance_type: t4g.small",
        "app_instance_type: t3.small",
        "server.instance_type",
    ),
    (
        "X-12",
        ALL,
        "balancer_instance_type: t4g.small",
        "balancer_instance_type: t3.small",
        "server.instance_type",
    ),
    ("X-12", ALL, "latest/arm64", "latest/amd64", "server.os or server.instance_type"),
    (
        "X-12",
        ALL,
        "/aws/service/debian/",
        "/aws/amazon-linux-",
        "server.os or server.instance_type",
    ),
    ("X-12", "package.sh", "npm_config_cpu=arm64", "npm_config_cpu=x64", "server.instance_type"),
    ("X-13", APP, "  LOG_LEVEL: info", "  LOG_LEVEL: debug", "config.LOG_LEVEL"),
    ("X-13", APP, "GREETING: !unsafe", "GREETING:", "config.GREETING"),
    ("X-13", APP, "  LOG_LEVEL: info", "  LOG_LEVEL: info\n  MORE: x", "config.MORE"),
    ("X-14", ALL, "  env: prod", "  env: stage", "environments"),
    ("X-14", ALL, "  owner: web-team-5cd74d01", "  owner: others", "owner"),
    ("X-14", ALL, "  managed-by: gen", "  managed-by: hand", ""),
    ("X-14", EC2, "  tag:env: prod", "  tag:env: stage", "environments"),
    ("X-18", CONFIGURE, "name: sample_app\n        tasks_from: reach", "name: other", ""),
    ("X-18", CONFIGURE, "tasks_from: reach", "tasks_from: reached", ""),
    ("X-18", CONFIGURE, "name: nodejs_app", "name: nodejs", ""),
    ("X-18", BALANCERS, "- role: nginx", "- role: haproxy", ""),
    ("X-18", REPLACE, "tasks: switch.yml", "tasks: switched.yml", ""),
    ("X-18", f"{A}create_ec2_instances_playbook.yml", "tasks/ec2_launch", "tasks/launch", ""),
    ("X-18", f"{ROLE}tasks/main.yml", "notify: Let systemd", "notify: May systemd", ""),
    ("X-18", SCRIPT, "play configure_sample_app_playbook.yml", "play deploy_playbook.yml", ""),
    ("X-18", "Makefile", "destroy_ec2_instances_playbook.yml", "destroy_playbook.yml", ""),
    ("network", ALL, "vpc_id: vpc-0123456789abcdef0", "vpc_id: vpc-00000000", "network.vpc_id"),
    ("release", APP, '_batches: [1, "30%"]', "_batches: [3]", "rollout.max_unavailable"),
    ("release", APP, '_batches: [1, "30%"]', "_batches: 3", "rollout.max_unavailable"),
    ("release", APP, "_bake_s: 120", "_bake_s: 0", "rollout.bake"),
    ("release", APP, "_canary: true", "_canary: false", "rollout.strategy"),
    ("release", APP, "_keep: 4", "_keep: 1", "rollback.keep"),
    (
        "release",
        SCRIPT,
        "'prod') automatic_rollback=yes",
        "'prod') automatic_rollback=no",
        "rollback.automatic",
    ),
    ("resources", APP, "memory_mib: 256", "memory_mib: 128", "resources.memory"),
    ("balancer", NGINX, "balance: round_robin", "balance: least_conn", "traffic.balance"),
    ("balancer", NGINX, 'nginx_rate: "100r/s"', 'nginx_rate: "9r/s"', "traffic.rate_limit"),
    ("balancer", NGINX, "host: app.example.com", "host: example.com", "traffic.hosts.server"),
    ("balancer", NGINX_DEFAULTS, "timeout_s: 20", "timeout_s: 15", "http.request_timeout"),
    ("balancer", ALL, "ec2_public: true", "ec2_public: false", "traffic.public"),
    ("balancer", ALL, "ports: [80, 443]", "ports: [80]", "traffic.hosts.server"),
    ("AN-14", CONFIGURE, "max_fail_percentage: 0", "max_fail_percentage: 30", "rollout"),
    ("AN-14", ROLLBACK, "max_fail_percentage: 0", "max_fail_percentage: 30", "rollout"),
    ("AN-14", CONFIGURE, "  serial: ", "  serial: 3\n  vars: ", "rollout"),
    ("AN-14", BALANCERS, "errors_fatal: true", "errors_fatal: false", "rollout"),
    ("AN-19", CFG, "host_key_checking = true", "host_key_checking = False", ""),
    ("AN-19", CFG, "ssh_args = ", "ssh_args = -o StrictHostKeyChecking=no ", ""),
    ("AN-19", ALL, "ec2_balancer_ports: [80,", "ec2_balancer_ports: [22, 80,", ""),
    ("AN-16", UNIT, "DynamicUser=true", "DynamicUser=no", ""),
    ("AN-16", UNIT, "UMask=0077", "User=root", ""),
    ("AN-16", UNIT, "MemoryMax={{ sample_app_memory_mib }}M", "MemoryMax=64M", ""),
    ("AN-16", UNIT, "CapabilityBoundingSet=", "CapabilityBoundingSet=CAP_NET_ADMIN", ""),
    ("AN-21", LAUNCH, "http_tokens: required", "http_tokens: optional", ""),
    ("AN-21", LAUNCH, "encrypted: true", "encrypted: false", ""),
    ("NG-08", CONF, "ssl_protocols TLSv1.2", "ssl_protocols TLSv1 TLSv1.2", ""),
    ("syntax", ALL, "ec2_public: true", "ec2_public: [true\nx: y", ""),
]

# What is taken away or loosened: the finding is where it was, or at the file.
LOOSENED = [
    ("X-01", DEFAULTS, "sample_app_port: 3000\n", ""),
    ("X-02", DEFAULTS, "sample_app_ready_path: /ready\n", ""),
    ("X-02", CONF, "[nginx_live_path, nginx_ready_path, '/version']", "[nginx_live_path]"),
    ("X-02", CONF, "[nginx_live_path, ", "["),
    ("X-10", EC2, "  nginx_instances: aws", "  balancers: aws"),
    ("X-10", EC2, "  sample_app_instances: aws", "  sample_app: aws"),
    ("X-13", APP, "  LOG_LEVEL: info\n", ""),
    ("X-13", APP, "sample-app/api-token", "sample-app/other-token"),
    ("X-13", APP, "  - name: DB_URL", "  - name: DATABASE_URL"),
    (
        "X-13",
        APP,
        f"    value: >-\n      {{{{ lookup({DB_URL}) }}}}",
        "    value: postgres://who:what@where/db",
    ),
    ("X-13", NGINX, "nginx_host:", "nginx_tls_key: '-----BEGIN PRIVATE KEY-----'\nnginx_host:"),
    ("X-14", ALL, "  approach: server\n", ""),
    ("X-14", ALL, '  tag:env: "{{ ec2_tags.env }}"\n', ""),
    ("X-14", EC2, "  tag:approach: server\n", ""),
    (
        "AN-14",
        CONFIGURE,
        "  any_errors_fatal: true\n  tasks:\n    - name: Replace",
        "  tasks:\n    - name: Replace",
    ),
    ("AN-14", CONFIGURE, "  max_fail_percentage: 0\n", ""),
    ("AN-14", ROLLBACK, "  serial: ", "  vars: {x: 1}\n  # "),
    ("AN-14", BALANCERS, "  serial: 1\n", ""),
    ("AN-14", REPLACE, "sample_app_state: down", "sample_app_state: in"),
    ("AN-14", REPLACE, "sample_app_state: in\n", "sample_app_state: down\n"),
    ("AN-16", UNIT, "NoNewPrivileges=true\n", ""),
    ("AN-19", ALL, "StrictHostKeyChecking=yes", "StrictHostKeyChecking=no"),
    (
        "AN-19",
        ALL,
        "'UserKnownHostsFile=\"{{ inventory_dir }}/known_hosts\"'",
        "UserKnownHostsFile=/dev/null",
    ),
    (
        "AN-19",
        GROUPS,
        '        from_port: "{{ ec2_app_first_port }}"',
        "        cidr_ip: 0.0.0.0/0\n        from_port: 20",
    ),
    ("AN-19", GROUPS, '        ports: "{{ ec2_balancer_ports }}"', "        ports: [20-25]"),
    (
        "AN-19",
        GROUPS,
        "    rules:\n",
        "    rules:\n      - {proto: all, cidr_ip: 0.0.0.0/0}\n",
    ),
    ("AN-20", SWITCH, "  no_log: true\n", ""),
    ("AN-21", LAUNCH, "      http_tokens: required\n", ""),
    ("balancer", NGINX, "nginx_host: app.example.com\n", ""),
    ("balancer", NGINX, 'nginx_rate: "100r/s"\n', ""),
    ("network", ALL, "ec2_network:\n  vpc_id", "ec2_network: null\nx:\n  vpc_id"),
    ("release", APP, "sample_app_keep: 4\n", ""),
    ("release", SCRIPT, "'prod') automatic_rollback=yes ;;", "'prod') ;;"),
    ("release", SCRIPT, "    'prod') automatic_rollback=yes ;;\n", ""),
]


@pytest.mark.parametrize(("rule", "file", "old", "new", "field"), BREAKS)
def test_a_broken_seam_is_found(
    project: Path, *, rule: str, file: str, old: str, new: str, field: str
) -> None:
    """An edit that splits a value from its twins is found in its line, with its key and a way out."""
    before = (project / file).read_text()
    replace(project, file, old, new)
    edited = before.count("\n", 0, before.index(old))

    code, report = run(project, "check", *OURS)

    lines = range(edited + 1, edited + new.count("\n") + 2)
    (found, *others) = report["findings"]
    assert {(one["rule"], one["file"]) for one in (found, *others)} == {(rule, file)}
    assert found["line"] in lines
    assert found["field"] == field
    assert all(one["fix"] for one in report["findings"])
    assert code == 1


@pytest.mark.parametrize(("rule", "file", "old", "new"), LOOSENED)
def test_a_loosened_seam_is_found(project: Path, rule: str, file: str, old: str, new: str) -> None:
    """What is taken away is found in its file, with a way out, and nothing else is."""
    replace(project, file, old, new)

    code, report = run(project, "check", *OURS)

    found = [one for one in report["findings"] if one["file"] == file]
    assert {one["rule"] for one in found} == {rule}
    assert {one["rule"] for one in report["findings"]} == {rule}
    assert all(one["fix"] for one in found)
    assert code == 1


@pytest.mark.parametrize("targets", ["[server]", "[container]", "[server, container]"])
@pytest.mark.parametrize("runtime", ["nodejs", "python"])
def test_a_project_has_the_checks_of_its_targets(
    targets: str, runtime: str, tmp_path: Path
) -> None:
    """A new project has no finding, whichever approaches it has."""
    spec = f"gen: 1\nname: both\nruntime: {{language: {runtime}}}\ntargets: {targets}\n"
    project = make(tmp_path, spec)

    code, report = run(project, "check", *OURS)

    assert (code, report["findings"]) == (0, [])


def test_the_project_above_has_no_finding(project: Path) -> None:
    """Nothing is found in what gen makes of every key that servers know."""
    assert run(project, "check", *OURS)[1]["findings"] == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("package.sh", "--python-version 3.13", "--python-version 3.12"),
        (f"{A}roles/ledger/tasks/unpack.yml", "python3.13", "python3.12"),
        (f"{A}roles/python_app/defaults/main.yml", '"3.13"', '"3.12"'),
    ],
)
def test_another_python_is_found(file: str, old: str, new: str, tmp_path: Path) -> None:
    """Servers, the environment of libraries and the archive are for one Python."""
    project = make(tmp_path, PYTHON)
    replace(project, file, old, new)

    _, report = run(project, "check", *OURS)

    assert [(one["rule"], one["file"]) for one in report["findings"]] == [("X-03", file)]


def test_libraries_for_another_processor_are_found(tmp_path: Path) -> None:
    """Wheels are packed for the servers."""
    project = make(tmp_path, PYTHON)
    replace(project, "package.sh", "manylinux_2_17_x86_64", "manylinux_2_17_aarch64")

    _, report = run(project, "check", *OURS)

    assert [(one["rule"], one["file"]) for one in report["findings"]] == [("X-12", "package.sh")]


def test_legal_edits_are_no_finding(project: Path) -> None:
    """What does not contradict the spec is the right of who edits it, and so is what stands beside."""
    for file, old, new in (
        (DEFAULTS, "stop_s: 50", "stop_s: 90"),
        (DEFAULTS, "start_s: 75", "start_s: 120"),
        (DEFAULTS, "sample_app_port: 3000", 'sample_app_port: "3000"'),
        (NGINX_DEFAULTS, "drain_s: 45", "drain_s: 30"),
        (NGINX_DEFAULTS, "idle_s: 60", "idle_s: 30"),
        (NGINX, "burst: 200", "burst: 10"),
        (CONF, "  keepalive_timeout 65s", "  keepalive_timeout 300s"),
        (CONF, "{{ nginx_drain_s }}s", "30s"),
        (APP, 'PAGE_SIZE: "50"', "PAGE_SIZE: 50"),
        (ALL, "  managed-by: gen\n", "  managed-by: gen\n  team: blue\n"),
        (ALL, "balancer_instance_type: t4g.small", "balancer_instance_type: c7g.large"),
        (ALL, "/aws/service/debian/release/13/latest/arm64", "/images/of-ours"),
        (ALL, "ec2_balancers: 1", "ec2_balancers: 2"),
        (ALL, "egress_ports: [80, 443]", "egress_ports: [22, 80, 443, 5432]"),
        (ALL, "ec2_account:", "nginx_drain_s: '{{ drain }}'\nec2_account:"),
        (
            GROUPS,
            "    rules:\n",
            "    rules:\n      - {proto: tcp, ports: [22], cidr_ip: 10.0.0.0/8}\n",
        ),
        (CONFIGURE, "- name: Watch it", "- name: Tell\n  hosts: localhost\n\n- name: Watch it"),
        (SCRIPT, "say() {", "# A word of ours.\nsay() {"),
    ):
        replace(project, file, old, new)
    (project / A / "roles/ours/tasks").mkdir(parents=True)
    (project / A / "roles/ours/tasks/main.yml").write_text("- include_role: {name: elsewhere}\n")
    (project / A / "our_playbook.yml").write_text("- hosts: databases\n  roles: [postgres]\n")

    code, report = run(project, "check", *OURS)

    assert (code, report["findings"]) == (0, [])


def test_what_only_ansible_can_evaluate_is_no_finding(project: Path) -> None:
    """A value that comes from elsewhere may be the right one; so may one number in place of a list."""
    text = (project / APP).read_text()
    text = re.sub(r"_config:\n(  .*\n)+", "_config: '{{ from_elsewhere }}'\n", text)
    text = re.sub(r"_secrets:\n(  .*\n)+", "_secrets: '{{ from_elsewhere }}'\n", text)
    (project / APP).write_text(text)
    replace(project, ALL, "ec2_network:\n", "ec2_network: '{{ from_elsewhere }}'\nrest:\n")
    replace(project, ALL, "ec2_tags:\n", "ec2_tags: '{{ from_elsewhere }}'\nmore:\n")
    replace(project, ALL, "/aws/service/debian/release/13/latest/arm64", "'{{ from_elsewhere }}'")
    replace(
        project, NODEJS, "nodejs_app_version: 24.21.0", "nodejs_app_version: '{{ from_elsewhere }}'"
    )
    replace(project, DEFAULTS, "sample_app_port: 3000", "sample_app_port: '{{ from_elsewhere }}'")

    assert run(project, "check", *OURS)[1]["findings"] == []


def test_a_newer_release_of_the_line_is_used(project: Path) -> None:
    """Another release of Node.js is legal; the app must be started with that one, not with the old."""
    replace(project, NODEJS, "nodejs_app_version: 24.21.0", "nodejs_app_version: 24.99.0")
    _, report = run(project, "check", *OURS)
    replace(project, DEFAULTS, "/opt/nodejs/24.21.0/bin", "/opt/nodejs/24.99.0/bin")
    _, mended = run(project, "check", *OURS)

    assert [(one["rule"], one["file"]) for one in report["findings"]] == [("X-03", DEFAULTS)]
    assert mended["findings"] == []


def test_one_number_is_a_list_of_one(tmp_path: Path) -> None:
    """Ansible takes both for serial."""
    project = make(tmp_path, PYTHON)
    vars_ = f"{PROD}group_vars/ledger_instances.yml"
    replace(project, vars_, "ledger_batches: [1]", "ledger_batches: 1")

    assert run(project, "check", *OURS)[1]["findings"] == []


def test_a_file_that_is_no_text(project: Path) -> None:
    """What cannot be read is said once."""
    (project / APP).write_bytes(b"\xff\xfe\x00")

    _, report = run(project, "check", *OURS)

    assert [(one["rule"], one["file"]) for one in report["findings"]] == [("syntax", APP)]


def test_a_secret_in_the_clear_is_not_repeated(project: Path) -> None:
    """The finding of a secret's value names the secret and never the value."""
    text = (project / APP).read_text()
    text = re.sub(r"value: >-\n.*api-token.*\n", "value: hunter2hunter2\n", text)
    (project / APP).write_text(text)

    _, report = run(project, "check", *OURS)

    (found,) = report["findings"]
    assert "API_TOKEN" in found["message"]
    assert found["field"] == "secrets.API_TOKEN"
    assert "hunter2" not in str(report)


def test_other_ways_to_a_secret_are_no_finding(project: Path) -> None:
    """A vault of Ansible or a variable brings a secret as well."""
    text = (project / APP).read_text()
    text = re.sub(
        r"value: >-\n.*api-token.*\n", "value: !vault |\n      $ANSIBLE_VAULT;1.1\n", text
    )
    text = re.sub(r"value: >-\n.*db-url.*\n", "value: '{{ from_elsewhere }}'\n", text)
    (project / APP).write_text(text)

    assert run(project, "check", *OURS)[1]["findings"] == []


def test_the_value_that_wins_counts(project: Path) -> None:
    """An environment's own value wins over the role's, and one beside the playbooks over both."""
    replace(project, ALL, "ec2_account:", "sample_app_port: 9000\nec2_account:")
    _, inventory = run(project, "check", *OURS)
    beside = project / A / "group_vars/sample_app_instances.yml"
    beside.parent.mkdir()
    beside.write_text("sample_app_port: 3000\n")
    _, healed = run(project, "check", *OURS)
    beside.write_text("sample_app_port: 9001\n")
    _, broken = run(project, "check", *OURS)

    assert [one["file"] for one in inventory["findings"]] == [ALL]
    assert healed["findings"] == []
    assert [one["file"] for one in broken["findings"]] == [
        f"{A}group_vars/sample_app_instances.yml"
    ]


def test_servers_that_one_has_already(project: Path) -> None:
    """Where an inventory is written by hand, nothing is asked of EC2, and of balancers neither."""
    example = (project / A / "inventories/static.example.yml").read_text()
    for name in ("prod", "stage"):
        (project / A / f"inventories/{name}/hosts.yml").write_text(
            example[: example.index("    nginx_instances:")]
        )
        (project / A / f"inventories/{name}/inventory.aws_ec2.yml").unlink()
    replace(project, ALL, "ec2_app_servers: 3", "ec2_app_servers: 1")
    replace(project, BALANCERS, "hosts: nginx_instances", "hosts: all")

    _, report = run(project, "check", *OURS)
    replace(project, f"{PROD}hosts.yml", "sample_app_instances:", "servers:")
    _, broken = run(project, "check", *OURS)

    assert report["findings"] == []
    assert f"{PROD}hosts.yml" in {one["file"] for one in broken["findings"]}


def test_an_inventory_that_moved_is_found(project: Path) -> None:
    """The release script runs in a folder for each environment that it knows."""
    (project / A / "inventories/prod").rename(project / A / "inventories/production")

    _, report = run(project, "check", *OURS)

    rules = {(one["rule"], one["file"]) for one in report["findings"]}
    assert ("X-18", SCRIPT) in rules
    assert {rule for rule, _ in rules} == {"missing-file", "X-18"}


def test_a_new_environment_is_drift_and_nothing_else(project: Path) -> None:
    """Nothing is asked of an inventory that is not there yet."""
    replace(project, "app.yaml", "  prod:", "  qa: {scale: {min: 1}}\n  prod:")

    _, report = run(project, "check", *OURS)

    assert {one["rule"] for one in report["findings"]} == {"drift"}


def test_a_folder_of_that_name_is_nobodys_without_servers(tmp_path: Path) -> None:
    """Without the target, ansible/ is whatever its owner wants."""
    project = make(tmp_path, "gen: 1\nname: other\ntargets: [container]\n")
    (project / "ansible/inventories/prod").mkdir(parents=True)
    (project / "ansible/inventories/prod/x.yml").write_text("a: [")
    (project / "ansible/ansible.cfg").write_text("host_key_checking = false\n")

    assert run(project, "check", *OURS)[1]["findings"] == []


def test_junk_in_a_file_of_ansible_is_no_crash(made: Path) -> None:
    """Whatever a value is replaced by, the checks end, with findings or without."""
    subject, _ = look_at(made, dt.date(2026, 11, 24))
    places = [
        (path, at, line)
        for path in subject.files
        if path.startswith((PROD, f"{A}roles/", f"{A}tasks/ec2_sec")) or path.endswith("book.yml")
        if path.endswith(".yml")
        for at, line in enumerate(subject.files.text(path).splitlines())
        if re.search(r"^[^#]*(: |- |:$)", line)
    ]
    for turn, (path, at, line) in enumerate(places[::5]):
        lines = subject.files.text(path).splitlines()
        lines[at] = re.sub(r"(: |- |:$).*", r"\1 ", line, count=1) + JUNK[turn % len(JUNK)]
        junk = {RelPath(path): File("\n".join(lines).encode())}
        changed = subject._replace(files=FileTree({**subject.files, **junk}))
        for check in CHECKS:
            if check.run.__module__ in SERVERS:
                list(check.run(changed))
    assert len(places) > 300


SERVERS = {
    f"generator.check.{name}"
    for name in (
        "access",
        "fleet",
        "hardening",
        "nginx",
        "playbooks",
        "rolling",
        "servers",
        "settings",
    )
}
