"""Whole-process time and peak memory, side by side: `python -m bench.run`, into bench/RESULTS.md.

Every contender makes the same files. The runs take turns (A B C A B C ...), so that a machine that
slows down slows all of them; medians and ratios are what to read, not single times.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench import contenders

RUNS = 15
RESULTS = Path(__file__).parent / "RESULTS.md"
BIN = Path(sys.executable).parent


class Figures(NamedTuple):
    """Medians over the runs: wall seconds, and the peak resident memory in MiB."""

    wall_s: float
    peak_mib: float
    walls: list[float]


def measure(commands: dict[str, list[str]], before: Callable[[], None]) -> dict[str, Figures]:
    """Run the commands in turns; `before` clears what the last one made."""
    walls: dict[str, list[float]] = {name: [] for name in commands}
    peaks: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(RUNS + 1):
        for name, command in commands.items():
            before()
            wall, peak = _once(command)
            if turn:  # the first turn warms the disk cache
                walls[name].append(wall)
                peaks[name].append(peak)
    return {
        name: Figures(statistics.median(walls[name]), statistics.median(peaks[name]), walls[name])
        for name in commands
    }


_CHILD = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
wall = time.perf_counter() - began
print(json.dumps([wall, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))
"""


def _once(command: list[str]) -> tuple[float, float]:
    # A child of its own for every run: the kernel keeps the peak of all children in one number.
    done = subprocess.run(
        [sys.executable, "-S", "-c", _CHILD, *command], check=True, capture_output=True, text=True
    )
    wall, peak = json.loads(done.stdout)
    return wall, peak / 1024 if platform.system() == "Linux" else peak / 1024**2


def ratio(one: Figures, other: Figures) -> float:
    """The median of the ratios turn by turn."""
    return statistics.median(a / b for a, b in zip(one.walls, other.walls, strict=True))


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        lines = _report(Path(scratch))
    RESULTS.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def _report(scratch: Path) -> list[str]:
    out = scratch / "out"
    out.mkdir()

    def clear() -> None:
        shutil.rmtree(out)
        out.mkdir()

    made = contenders.prepare(scratch)
    commands = {
        "gen new --targets all": [str(BIN / "gen"), "new", "sample-app", "--targets", "all", "--dir", f"{out}/app"],
        "copier copy": made.copier(BIN, out / "app"),
        "cookiecutter": made.cookiecutter(BIN, out),
        "cp -r": ["cp", "-r", str(made.tree), str(out / "app")],
    }  # fmt: skip
    starts = {
        "gen --version": [str(BIN / "gen"), "--version"],
        "python -c pass": [sys.executable, "-c", "pass"],
    }
    new = measure(commands, clear)
    start = measure(starts, clear)
    gen = new["gen new --targets all"]
    first = ratio(start["gen --version"], start["python -c pass"])
    many = contenders.hundred(scratch / "many")
    return [
        "# Results",
        "",
        f"Written by `make bench`: {RUNS} runs of each, in turns, medians of whole processes.",
        f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}; {made.files} files.",
        "",
        "| command | wall, ms | peak, MiB | gen's time to its |",
        "|---|---|---|---|",
        *(
            f"| {name} | {figures.wall_s * 1000:.0f} | {figures.peak_mib:.0f} | {ratio(gen, figures):.2f} |"
            for name, figures in new.items()
        ),
        "",
        "| start | wall, ms | to bare Python |",
        "|---|---|---|",
        *(
            f"| {name} | {figures.wall_s * 1000:.0f} | {ratio(figures, start['python -c pass']):.1f} |"
            for name, figures in start.items()
        ),
        "",
        "| 100 apps in one process | wall, ms | gen's time to its |",
        "|---|---|---|",
        f"| gen | {many.gen_s * 1000:.0f} | 1.00 |",
        f"| a bare jinja2 loop over the same templates | {many.jinja_s * 1000:.0f} | {many.ratio:.2f} |",
        "",
        "| bound | wanted | measured |",
        "|---|---|---|",
        f"| gen new to copier copy | at most 0.30, aim at 0.15 | {ratio(gen, new['copier copy']):.2f} |",
        f"| gen --version to bare Python | at most 4 | {first:.1f} |",
        f"| peak memory of gen new | under 80 MiB | {gen.peak_mib:.0f} MiB |",
        f"| 100 apps to a bare jinja2 loop | at most 1.5 | {many.ratio:.2f} |",
    ]


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
