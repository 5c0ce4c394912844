"""What holds for every test."""

from __future__ import annotations

import os

# The make that runs the tests is none of the makes that they try: those would listen to its options, and
# tell of its jobs.
for _name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL"):
    os.environ.pop(_name, None)
