"""The machine in the way: the old state or a whole project, whatever happens, and a clear word."""

from __future__ import annotations

import os
import pty
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.golden import Case, run
from tests.program import ROOT, SMALLEST, Ended, Watch, fork, gen

_NOBODY = 65534  # the user of that name


class Place(NamedTuple):
    """Where a project shall come to be: `option` is its --dir for a command that runs in `cwd`."""

    spec: Path
    cwd: Path
    option: str

    @property
    def folder(self) -> Path:
        return Path(os.path.normpath(self.cwd / self.option))

    def new(self, prepare: Callable[[], None] = lambda: None) -> Callable[[], Ended]:
        return fork(("new", "--spec", str(self.spec), "--dir", self.option), self.cwd, prepare)


def _entries(folder: Path) -> dict[str, bytes]:
    """All that is below a folder, by path; files with their content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that other users may enter, with a spec in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.path.realpath(name))
        folder.chmod(0o755)
        (folder / "app.yaml").write_text(SMALLEST)
        yield folder


@pytest.fixture(scope="module")
def whole() -> dict[str, bytes]:
    """What is in a project whose creation nothing disturbed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.yaml").write_text(SMALLEST)
        # In this process once, so that it has everything loaded: its forks start at once, and a
        # user who may not read our folders has all that the command needs.
        assert run(Case(folder, ["new", "--spec", "app.yaml", "--dir", "out"], 0)).code == 0
        assert run(Case(folder, ["check"], 2)).code == 2
        assert Place(folder / "app.yaml", folder, "out").new()().code == 0
        return _entries(folder / "out")


def _fresh(scratch: Path) -> Place:
    return Place(scratch / "app.yaml", scratch, "out")


def _deep(scratch: Path) -> Place:
    return Place(scratch / "app.yaml", scratch, "a/b/out")


def _empty(scratch: Path) -> Place:
    (scratch / "out").mkdir()
    return Place(scratch / "app.yaml", scratch, "out")


def _here(scratch: Path) -> Place:
    (scratch / "out").mkdir()
    return Place(scratch / "app.yaml", scratch / "out", ".")


PLACES = pytest.mark.parametrize("place_in", [_fresh, _deep, _empty, _here])


def _writes(place_in: Callable[[Path], Place]) -> int:
    """How often a creation changes something on disk."""
    with tempfile.TemporaryDirectory() as name:
        watch = Watch(Path(name))
        (Path(name) / "app.yaml").write_text(SMALLEST)
        assert place_in(Path(name)).new(watch)().code == 0
    assert watch.seen > 20
    return watch.seen


def _interrupted(
    place_in: Callable[[Path], Place], act: Callable[[], None], numbers: Iterable[int]
) -> Iterator[tuple[Place, dict[str, bytes], Ended]]:
    """Creations that met `act` just before a change on disk, each with what was there before."""
    for number in numbers:
        with tempfile.TemporaryDirectory() as name:
            scratch = Path(name)
            (scratch / "app.yaml").write_text(SMALLEST)
            place = place_in(scratch)
            before = _entries(scratch)
            ended = place.new(Watch(scratch, number, act))()
            yield place, before, ended


def _repaired(place: Place, whole: dict[str, bytes]) -> bool:
    """Whether a second run leaves a whole project, and nothing beside it."""
    complete = place.folder.exists() and _entries(place.folder) == whole
    ended = place.new()()
    beside = {name for name in os.listdir(place.spec.parent) if name not in {"app.yaml", "a"}}
    return (
        ended.code == (2 if complete or "complete now" in ended.stderr else 0)
        and _entries(place.folder) == whole
        and beside <= {"out"}
        and set(os.listdir(place.folder.parent)) <= {"out", "app.yaml"}
    )


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@PLACES
def test_killed(place_in: Callable[[Path], Place], whole: dict[str, bytes]) -> None:
    """A run that was killed at any of its writes leaves nothing that the next one does not mend."""
    last = _writes(place_in)
    sample = sorted({*range(1, last, 7), *range(last - 4, last + 1)})
    for place, _, ended in _interrupted(place_in, _kill, sample):
        assert ended.code == -signal.SIGKILL
        if place_in in {_fresh, _deep}:
            assert not place.folder.exists() or _entries(place.folder) == whole
        assert _repaired(place, whole)


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, also where these tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@PLACES
@pytest.mark.usefixtures("ctrl_c")
def test_interrupted(place_in: Callable[[Path], Place], whole: dict[str, bytes]) -> None:
    """Ctrl-C ends a run with 130 and leaves all as it was, or what the next run completes."""
    undone = 0
    sample = range(1, _writes(place_in) + 1, 11)
    interrupt = partial(signal.raise_signal, signal.SIGINT)
    for place, before, ended in _interrupted(place_in, interrupt, sample):
        assert (ended.code, ended.stderr.strip()) == (130, "interrupted")
        undone += _entries(place.spec.parent) == before
        if place_in in {_fresh, _deep} and place.folder.exists():
            assert _entries(place.folder) == whole
        assert _repaired(place, whole)
    assert undone


def test_killed_while_moving_in(whole: dict[str, bytes]) -> None:
    """In a folder whose creation was cut off, every other command says what to do."""
    middle = _writes(_here) - 4
    for place, _, _ in _interrupted(_here, _kill, [middle]):
        assert len(os.listdir(place.folder)) > 2

        done = gen("check", cwd=place.folder)

        assert done.returncode == 2
        assert "the creation of this project was interrupted" in done.stderr
        assert "run the same gen new again" in done.stderr
        assert _repaired(place, whole)


@PLACES
def test_two_at_once(
    place_in: Callable[[Path], Place], scratch: Path, whole: dict[str, bytes]
) -> None:
    """While one run creates a project, a second one says who is at it and touches nothing."""
    place = place_in(scratch)
    hear, tell = os.pipe()
    wait, go = os.pipe()

    def pause() -> None:
        os.write(tell, str(os.getpid()).encode())
        os.read(wait, 1)

    first = place.new(Watch(scratch, 9, pause))
    owner = os.read(hear, 100).decode()
    second = place.new()()
    os.write(go, b".")

    assert second.code == 3
    assert f"process {owner} is creating this project" in second.stderr
    assert first() == Ended(0, "")
    assert _entries(place.folder) == whole


@PLACES
@pytest.mark.parametrize("size", [0, 700, 20_000])
def test_disk_full(
    place_in: Callable[[Path], Place], scratch: Path, size: int, whole: dict[str, bytes]
) -> None:
    """Where the system takes no more bytes half-way, all is as it was."""
    assert max(map(len, whole.values())) > size
    place = place_in(scratch)
    before = _entries(scratch)

    ended = place.new(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))()

    assert ended.code == 3
    assert "File too large" in ended.stderr
    assert "fix:" in ended.stderr
    assert _entries(scratch) == before


def test_disk_really_full(scratch: Path) -> None:
    """On a disk with too little space the message says so, and nothing is left there."""
    (scratch / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(scratch / "disk")]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        ended = Place(scratch / "app.yaml", scratch, "disk/out").new()()

        assert ended.code == 3
        assert "No space left on device" in ended.stderr
        assert "Free some space" in ended.stderr
        assert not _entries(scratch / "disk")
    finally:
        subprocess.run(["umount", str(scratch / "disk")], check=True)


def _as_nobody() -> None:
    """Give up root, which may do everything; a common user cannot do so anyway."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)


@PLACES
def test_no_permission(
    place_in: Callable[[Path], Place], scratch: Path, whole: dict[str, bytes]
) -> None:
    """Without the right to write, all is as it was."""
    place = place_in(scratch)
    for folder in (scratch, place.folder):
        if folder.exists():
            folder.chmod(0o555)
    before = _entries(scratch)

    ended = place.new(_as_nobody)()

    assert ended.code == 3
    assert "Permission denied" in ended.stderr
    assert "Give yourself the right to write there" in ended.stderr
    assert _entries(scratch) == before
    assert whole


@pytest.mark.parametrize("mode", [0o600, 0o000])
def test_unreadable_spec(scratch: Path, mode: int) -> None:
    """A spec that one may not read is the user's to mend."""
    place = _fresh(scratch)
    place.spec.chmod(0o000 if os.geteuid() else mode)

    ended = place.new(_as_nobody)()

    assert ended.code == 2
    assert "may not be read by you" in ended.stderr
    assert "chmod u+r" in ended.stderr


def test_unreadable_project(scratch: Path, whole: dict[str, bytes]) -> None:
    """A project that one may not read is the machine's fault, not a finding."""
    place = _fresh(scratch)
    assert place.new()().code == 0
    (place.folder / ".gen/lock.yaml").chmod(0o000)

    ended = fork(("check",), place.folder, _as_nobody)()

    assert ended.code == 3
    assert "Permission denied" in ended.stderr
    assert whole


def _file(folder: Path) -> None:
    folder.write_text("mine")


def _full(folder: Path) -> None:
    folder.mkdir()
    (folder / "mine").write_text("mine")


def _dangling(folder: Path) -> None:
    folder.symlink_to("nowhere")


def _link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    folder.symlink_to("elsewhere")


def _link_to_file(folder: Path) -> None:
    (folder.parent / "elsewhere").write_text("mine")
    folder.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("occupy", "says"),
    [
        (_file, "out: this is not a folder"),
        (_full, "out: this folder is not empty: mine"),
        (_dangling, "out: this is a link that leads nowhere"),
        (_link, "out: this is a link that leads to"),
        (_link_to_file, "out: this is a link that leads to"),
    ],
)
def test_occupied(scratch: Path, occupy: Callable[[Path], None], says: str) -> None:
    """What is already where the project should be is named, and nothing is touched."""
    occupy(scratch / "out")
    before = _entries(scratch)

    done = gen("new", "--spec", "app.yaml", "--dir", "out", cwd=scratch)

    assert done.returncode == 2
    assert says in done.stderr
    assert "fix:" in done.stderr
    assert _entries(scratch) == before


def test_below_a_file(scratch: Path) -> None:
    """A project cannot be below a file, and the message names it."""
    done = gen("new", "--spec", "app.yaml", "--dir", "app.yaml/out", cwd=scratch)

    assert done.returncode == 2
    assert "app.yaml: this is a file, so nothing can be below it" in done.stderr
    assert _entries(scratch).keys() == {"app.yaml"}


_PLAIN = {"PATH": os.environ.get("PATH", os.defpath)}
_ENVIRONMENTS = {
    "nothing": _PLAIN,
    "no such home": {**_PLAIN, "HOME": "/proc/no/such/folder"},
    "home is a file": {**_PLAIN, "HOME": "/dev/null"},
    "relative cache": {**_PLAIN, "XDG_CACHE_HOME": "cache"},
    "LANG=C": {**_PLAIN, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "narrow": {**_PLAIN, "COLUMNS": "20"},
    "dumb": {**_PLAIN, "TERM": "dumb", "NO_COLOR": "1"},
    "optimized": {**_PLAIN, "PYTHONOPTIMIZE": "2"},
}


@pytest.mark.parametrize("name", _ENVIRONMENTS)
def test_environments(name: str, scratch: Path, whole: dict[str, bytes]) -> None:
    """Whatever the environment lacks or asks for, the project is the same."""
    done = gen(
        "new", "--spec", "app.yaml", "--dir", "out", cwd=scratch, environment=_ENVIRONMENTS[name]
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert _entries(scratch / "out") == whole
    assert _entries(scratch).keys() - {f"out/{path}" for path in whole} == {"app.yaml", "out"}


_NAMES = (
    "with blank",
    " ",
    'it\'s "quoted"',
    "\u00fc\u00f1\u00ed \u4e2d\u6587 \U0001f600",
    "$HOME `id` %s {{ x }} [[ x ]]",
    "back\\slash",
    "-dash",
    "x" * 200,
    "x" * 255,
)


@pytest.mark.parametrize("name", _NAMES)
def test_odd_folders(scratch: Path, whole: dict[str, bytes], name: str) -> None:
    """A folder may be called what the file system allows, and the project in it can be checked."""
    made = fork(("new", "--spec", "app.yaml", f"--dir={name}"), scratch, lambda: None)()
    checked = fork(("check", "--only", "drift"), scratch / name, lambda: None)()

    assert made == checked == Ended(0, "")
    assert _entries(scratch / name) == whole


@pytest.mark.parametrize("name", [*_NAMES[1:4], "x" * 255])
def test_odd_folders_without_a_locale(scratch: Path, whole: dict[str, bytes], name: str) -> None:
    """The same where the system knows ASCII only."""
    words = ("new", "--spec", "app.yaml", f"--dir={name}")

    made = gen(*words, cwd=scratch, environment=_ENVIRONMENTS["LANG=C"])

    assert (made.returncode, made.stderr) == (0, "")
    assert _entries(scratch / name) == whole


def test_name_too_long(scratch: Path) -> None:
    """A name that no file system takes is said to be too long."""
    done = gen("new", "--spec", "app.yaml", "--dir", "x" * 256, cwd=scratch)

    assert done.returncode == 3
    assert "Choose a shorter path." in done.stderr
    assert _entries(scratch).keys() == {"app.yaml"}


def _rubbish(cache: Path) -> None:
    for file in cache.rglob("*"):
        if file.is_file():
            file.write_bytes(b"rubbish" * 100)


def _cut(cache: Path) -> None:
    for file in cache.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-100])


def _emptied(cache: Path) -> None:
    for file in cache.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def _folders(cache: Path) -> None:
    for file in [*cache.rglob("*")]:
        if file.is_file():
            file.unlink()
            file.mkdir()


def _read_only(cache: Path) -> None:
    for file in (cache, *cache.rglob("*")):
        file.chmod(0o555 if file.is_dir() else 0o444)


def _unreadable(cache: Path) -> None:
    cache.chmod(0o000)


def _open_to_all(cache: Path) -> None:
    for file in (cache, *cache.rglob("*")):
        file.chmod(0o777)


def _untouched(cache: Path) -> None:
    """The cache as the run before left it."""


@pytest.mark.parametrize(
    "spoil",
    [_untouched, _rubbish, _cut, _emptied, _folders, _read_only, _unreadable, _open_to_all],
)
def test_cache(spoil: Callable[[Path], None], scratch: Path, whole: dict[str, bytes]) -> None:
    """Whatever happened to the cache, the project is the same."""
    cache = scratch / "cache"
    cache.mkdir()
    scratch.chmod(0o777)
    cache.chmod(0o777)

    def prepare() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "generator"]:
            del sys.modules[name]  # what this process has in memory must not stand in for the cache
        os.environ["XDG_CACHE_HOME"] = str(cache)
        _as_nobody()

    assert Place(scratch / "app.yaml", scratch, "first").new(prepare)().code == 0
    assert any(file.is_file() for file in cache.rglob("*"))
    spoil(cache)

    ended = Place(scratch / "app.yaml", scratch, "second").new(prepare)()

    assert ended == Ended(0, "")
    assert _entries(scratch / "first") == _entries(scratch / "second") == whole


def _program(*words: str, stdout: int, environment: dict[str, str]) -> tuple[int, bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "generator", *words],
        cwd=ROOT,
        env=environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [("schema",), ("--help",), ("new", "--help"), ("--version",)])
def test_closed_pipe(words: tuple[str, ...]) -> None:
    """Where the reader of a pipe has gone, the command ends in silence."""
    gone, pipe = os.pipe()
    os.close(gone)

    code, stderr = _program(*words, stdout=pipe, environment=_PLAIN)
    os.close(pipe)

    assert (code, stderr) == (0, b"")


@pytest.mark.parametrize("words", [("schema",), ("--help",), ("--version",)])
def test_full_output(words: tuple[str, ...]) -> None:
    """Where the output cannot be written, the command fails with a word and no traceback."""
    with open("/dev/full", "wb") as full:
        code, stderr = _program(*words, stdout=full.fileno(), environment=_PLAIN)

    assert code == 3
    assert b"the output cannot be written: No space left on device" in stderr
    assert b"Traceback" not in stderr
    assert b"Exception" not in stderr


def test_no_output(scratch: Path, whole: dict[str, bytes]) -> None:
    """A command works without standard output and error."""
    program = (
        f"'{sys.executable}' -m generator new --spec '{scratch}/app.yaml' --dir '{scratch}/out'"
    )

    done = subprocess.run(["sh", "-c", f"{program} >&- 2>&-"], cwd=ROOT, env=_PLAIN, check=False)

    assert done.returncode == 0
    assert _entries(scratch / "out") == whole


def _on_terminal(words: list[str], cwd: Path, environment: dict[str, str]) -> str:
    """What a command shows on a terminal."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "generator", *words],
        cwd=cwd,
        env={**_PLAIN, **environment, "PYTHONPATH": str(ROOT)},
        stdin=end,
        stdout=end,
        stderr=end,
    )
    os.close(end)
    shown = b""
    try:
        while part := os.read(terminal, 10_000):
            shown += part
    except OSError:  # Linux tells so that nobody has the other end any more
        pass
    process.wait()
    os.close(terminal)
    return shown.decode()


@pytest.mark.parametrize(
    ("environment", "colours"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),  # as no-color.org has it
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours(scratch: Path, environment: dict[str, str], colours: bool) -> None:
    """A terminal gets colours, unless it has none or NO_COLOR asks for none; the words are the
    same."""
    (scratch / "app.yaml").write_text(SMALLEST + "scale: {min: 0}\n")
    words = ["new", "--spec", "app.yaml", "--dir", "out"]

    shown = _on_terminal(words, scratch, environment)

    assert ("\x1b[" in shown) == colours
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).replace("\r\n", "\n")
    assert plain == gen(*words, cwd=scratch).stderr


_LOCK = ".gen/lock.yaml"


def _state(edit: Callable[[str], str | bytes]) -> Callable[[Path], None]:
    def change(project: Path) -> None:
        changed = edit((project / _LOCK).read_text())
        (project / _LOCK).write_bytes(changed if isinstance(changed, bytes) else changed.encode())

    return change


def _without_state(project: Path) -> None:
    for path in sorted((project / ".gen").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (project / ".gen").rmdir()


_STATES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "deleted": (_without_state, "there is no .gen/lock.yaml here", "from your history"),
    "emptied": (_state(lambda _: ""), "cannot be read", "git checkout"),
    "edited": (
        _state(lambda text: text.replace("files:", "fils:")),
        "cannot be read",
        "git checkout",
    ),
    "broken": (_state(lambda text: text + "\n  x: [\n"), "cannot be read", "git checkout"),
    "binary": (_state(lambda _: b"\xff\xfe\0"), "cannot be read", "git checkout"),
    "list": (_state(lambda _: "- a\n"), "cannot be read", "git checkout"),
    "escaping": (
        _state(lambda text: re.sub(r"\n  Dockerfile:", "\n  ../Dockerfile:", text)),
        "cannot be read",
        "git checkout",
    ),
    "no hash": (_state(lambda text: re.sub("[0-9a-f]{64}", "x", text)), "cannot be read", "git"),
    "half-merged": (
        _state(lambda text: f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n"),
        "git left a conflict",
        "Keep either side",
    ),
    "newer": (
        _state(lambda text: re.sub("format: .*\ngen: .*", 'format: 99\ngen: "99.0"', text)),
        "written by gen 99.0",
        "Use gen 99.0 or newer",
    ),
}


@pytest.mark.parametrize("name", _STATES)
def test_state_that_cannot_be_trusted(name: str, scratch: Path, whole: dict[str, bytes]) -> None:
    """What happened to `.gen/` is said with the way out, and nothing is changed."""
    spoil, says, fix = _STATES[name]
    place = _fresh(scratch)
    assert place.new()().code == 0
    spoil(place.folder)
    before = _entries(place.folder)
    assert before != whole

    ended = fork(("check", "--only", "drift"), place.folder, lambda: None)()

    assert ended.code == 2
    assert says in ended.stderr
    assert fix in ended.stderr
    assert _entries(place.folder) == before
