"""ansible-lint: playbooks and roles by its strictest profile.

It looks at a copy, since it leaves a folder of its own where it works, and fetches nothing. Known to
work: 26.10.1. It takes 15 to 25 s, which is most of the time of a whole check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from generator.check import Finding
from generator.check.tools import SCRATCH, Answer, Crashed, Job, Step, Tool, Unavailable
from generator.check.tools.ansible_syntax import COLLECTIONS, lacks_collections
from generator.render.context import Context
from generator.tree import FileTree

_FOLDER = "ansible"
_COPY = f"{SCRATCH}/{_FOLDER}"
_CALL = (
    "ansible-lint",
    "--offline",
    "--nocolor",
    "--profile=production",
    "--format=json",
    f"--project-dir={_COPY}",
    _COPY,
)


def jobs(files: FileTree, context: Context) -> Iterator[Job]:
    ours = any(path.startswith(f"{_FOLDER}/") for path in files)
    if ours and "server" in context["targets"]:
        yield Job(_FOLDER, (Step(("cp", "-R", _FOLDER, _COPY)), Step(_CALL)))


def read(answer: Answer) -> Iterator[Finding]:
    items = _items(answer)
    for item in items:
        # One that cannot be read at all hides what else is in it.
        if lacks_collections(item["description"]):
            raise Unavailable(COLLECTIONS)
        where = item["location"]
        begin = (where.get("positions") or where["lines"])["begin"]
        yield Finding(
            f"ansible-lint/{item['check_name']}",
            _file(where["path"], answer.argv[-1]),
            begin["line"] if isinstance(begin, dict) else begin,
            item["description"],
            f"See {item['check_name'].partition('[')[0]} of ansible-lint; an exception is written "
            "beside it: # noqa, with its reason.",
        )


def _items(answer: Answer) -> list[dict[str, Any]]:
    why = answer.stderr.strip().splitlines() or [f"exit {answer.code}"]
    if answer.program != "ansible-lint" or answer.code not in (0, 2):
        raise Crashed(why[-1])
    try:
        found = json.loads(answer.stdout)
    except ValueError:
        raise Crashed(why[-1]) from None
    processed = re.search(r"in ([0-9]+) files processed", answer.stderr)
    if not isinstance(found, list) or (processed and processed[1] == "0"):
        raise Crashed("it looked at nothing")
    return found


def _file(path: str, copy: str) -> str:
    """The file in the project behind one of the copy."""
    return f"{_FOLDER}/{path.removeprefix(f'{copy}/')}"


TOOL = Tool(
    "ansible-lint",
    "playbooks and roles follow the rules of ansible-lint",
    ("ansible-lint",),
    "pip install ansible-lint ansible, in an environment of their own",
    jobs,
    read,
)
