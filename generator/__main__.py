"""The entry of `gen`, and of `python -m generator`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process."""
    if sys.argv[1:] == ["--version"]:
        # Scripts ask for it in loops; the rest of the program costs six times Python's own start.
        from generator import __version__

        print(f"gen {__version__}")
        return 0
    from generator.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
