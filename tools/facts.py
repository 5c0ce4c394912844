"""The scheduled check: fails when a default has reached the end of its support, or soon will.

Not part of the commit's tests: a commit does not become wrong because a day has passed.
"""

from __future__ import annotations

import datetime as dt
import sys

from generator import facts

if __name__ == "__main__":
    today = dt.date.fromisoformat(sys.argv[1]) if len(sys.argv) > 1 else dt.date.today()
    ended = facts.ended_defaults(today)
    print("\n".join(ended) or f"every default is supported on {today}")
    sys.exit(bool(ended))
