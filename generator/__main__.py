"""The entry of `gen`, and of `python -m generator`."""

from __future__ import annotations

import contextlib
import sys


def main() -> int:
    """Run the command line of this process."""
    if sys.argv[1:] == ["--version"]:
        # Scripts ask for it in loops; the rest of the program costs six times Python's own start.
        from generator import __version__

        with contextlib.suppress(OSError, AttributeError):  # no output: the long way says why
            print(f"gen {__version__}", flush=True)
            return 0
    try:
        from generator.cli import main as run

        return run()
    except KeyboardInterrupt:  # while the program is still being loaded
        return 130


if __name__ == "__main__":
    sys.exit(main())
