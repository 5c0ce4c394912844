"""ansible-playbook --syntax-check: every playbook can be read, with all roles and files that it names.

Nothing is run and no server is asked: the only host is localhost, which no task is run on either.
Known to work: ansible-core 2.21.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from generator.check import Finding
from generator.check.tools import Answer, Crashed, Job, Step, Tool, Unavailable
from generator.render.context import Context
from generator.tree import FileTree

# What every playbook of EC2 calls first: where this is not found, none of its collection is.
_FIRST = "'amazon.aws.aws_caller_info'"
_PLAYBOOK = re.compile(r"ansible/[^/]+_playbook\.ya?ml")


def jobs(files: FileTree, context: Context) -> Iterator[Job]:
    if "server" not in context["targets"]:
        return
    for path in files:
        if _PLAYBOOK.fullmatch(path):
            call = ("ansible-playbook", "--syntax-check", "--inventory=localhost,", path)
            yield Job(path, (Step(call),))


def lacks_collections(text: str) -> bool:
    """Whether an answer is about what is not installed, not about what is written."""
    return "couldn't resolve module/action" in text and _FIRST in text


COLLECTIONS = (
    "the collections of ansible/requirements.yml are not installed; "
    "ansible-galaxy collection install -r ansible/requirements.yml"
)


def read(answer: Answer) -> Iterator[Finding]:
    if answer.code == 0:
        if f"playbook: {answer.label}" not in answer.stdout:
            raise Crashed("it did not read the playbook")
        return
    said = answer.stderr + answer.stdout
    if lacks_collections(said):
        raise Unavailable(COLLECTIONS)
    error = re.search(r"\[?ERROR\]?!?:? *(.+)", said)
    if error is None:
        raise Crashed((said.strip().splitlines() or [f"exit {answer.code}"])[-1])
    file, line = _place(said, answer.label)
    fix = "Mend it: ansible-playbook would stop here before it does anything."
    yield Finding("ansible-playbook", file, line, error[1].strip(), fix)


def _place(said: str, playbook: str) -> tuple[str, int]:
    """Where an error is: Ansible names files by their whole path."""
    found = re.search(r"^Origin: (?:.*/)?(ansible/\S+?):([0-9]+)", said, re.MULTILINE)
    return (found[1], int(found[2])) if found else (playbook, 0)


TOOL = Tool(
    "ansible-playbook",
    "Ansible can read every playbook",
    ("ansible-playbook",),
    "pip install ansible, in an environment of its own",
    jobs,
    read,
)
