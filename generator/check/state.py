"""The project against its spec: drift, deleted files, left-over conflicts. Edits are never findings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

from generator.check import Check, Finding, Subject
from generator.tree import RelPath


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _in_app(subject: Subject, path: str) -> bool:
    return path.startswith(subject.context["app"]["path"] + "/")


def _app_is_ours(subject: Subject) -> bool:
    """Whether nobody has touched the generated app: until then it follows the spec as a whole."""
    return all(
        path in subject.files and _digest(subject.files[path].content) == digest
        for path, digest in subject.written.items()
        if _in_app(subject, path)
    )


def _yours(subject: Subject, path: str) -> bool:
    """Whether a file stopped being gen's business at its birth: the app's code, release records."""
    return _in_app(subject, path) or path.startswith("releases/")


def _replaced(subject: Subject, path: str) -> bool:
    """Whether an inventory of servers that one has stands in the place of the one that asks AWS."""
    folder, _, name = path.rpartition("/")
    return name == "inventory.aws_ec2.yml" and any(
        other.rpartition("/")[0] == folder and other.endswith((".yml", ".yaml"))
        for other in subject.files
    )


def _moved_on(subject: Subject, path: RelPath) -> bool:
    """Whether the spec now makes another file than gen wrote, and than there is."""
    wanted = _digest(subject.wanted[path].content) if path in subject.wanted else None
    on_disk = _digest(subject.files[path].content) if path in subject.files else None
    return wanted not in (subject.written.get(path), on_disk)


def drift(subject: Subject) -> Iterator[Finding]:
    """Whether the artifacts are those that the spec makes now."""
    if not subject.changed_spec:
        return
    ours = _app_is_ours(subject)
    differ = [
        path
        for path in sorted({*subject.written, *subject.wanted})
        if (not _yours(subject, path) or (ours and _in_app(subject, path)))
        and _moved_on(subject, path)
    ]
    if differ:
        yield Finding(
            "drift",
            "app.yaml",
            0,
            f"the spec has changed since the artifacts were made; it now makes others: {', '.join(differ)}",
            "Make a fresh project beside this one (gen new --spec app.yaml --dir ../fresh) and take over "
            "what differs there.",
        )


def deleted(subject: Subject) -> Iterator[Finding]:
    """Whether every generated file is still there."""
    for path in subject.written:
        if path not in subject.files and not _yours(subject, path) and not _replaced(subject, path):
            yield Finding(
                "missing-file",
                path,
                0,
                "this generated file was deleted",
                "Bring it back from your history, or take out of the spec what asks for it.",
            )


_MARKER = re.compile(rb"^(<{7} .*|={7}|>{7} .*)\r?$", re.MULTILINE)


def conflicts(subject: Subject) -> Iterator[Finding]:
    """Whether a conflict of an update is still open."""
    for path, file in subject.files.items():
        if path.endswith(".gen-new"):
            yield Finding(
                "conflict",
                path,
                0,
                "gen put this beside a file of yours",
                "Take over what you want of it, then delete it.",
            )
            continue
        if path not in subject.written:
            continue
        marks = list(_MARKER.finditer(file.content))
        if {match[1][:7] for match in marks} >= {b"<<<<<<<", b"=======", b">>>>>>>"}:
            yield Finding(
                "conflict",
                path,
                file.content.count(b"\n", 0, marks[0].start()) + 1,
                "the markers of a conflict are still here",
                "Choose between yours and new, and remove the markers.",
            )


def own_app(subject: Subject) -> Iterator[Finding]:
    """Whether the code that the spec points at is there."""
    app = subject.context["app"]
    if app["own"] and not any(path.startswith(app["path"] + "/") for path in subject.files):
        yield Finding(
            "no-app",
            app["path"],
            0,
            "app.command says that the app is yours, and there is no code in this folder",
            f"Put the code into {app['path']}/, or remove app.command to get a small app.",
            "app.path",
        )


def syntax(subject: Subject) -> Iterator[Finding]:
    """Whether every manifest can be read: the checks below compare what was read."""
    for broken in subject.unreadable:
        yield Finding(
            "syntax", broken.file, broken.line, broken.why, "Mend the YAML around this line."
        )


CHECKS = (
    Check("syntax", "every manifest can be read", syntax),
    Check("drift", "the spec has not moved on since the artifacts were made", drift),
    Check("missing-file", "every generated file is there", deleted),
    Check("conflict", "no conflict is open in a generated file", conflicts),
    Check("no-app", "the app's code is there", own_app),
)
