#!/usr/bin/env python3
"""Checks that every test which docs/invariants.md and docs/failure-modes.md name exists; exits 1 when one does not.

A code span of at least three words joined by underscores is the name of a test.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ("docs/invariants.md", "docs/failure-modes.md")
NAME = re.compile(r"`([a-z0-9]+(?:_[a-z0-9]+){2,})`")
# Stored names of events and columns, not tests.
OTHERS = {"external_id_recorded"}


def main():
    sources = [path for folder in ("crates", "tests") for path in (ROOT / folder).rglob("*.rs")]
    defined = {name for path in sources for name in re.findall(r"\bfn (\w+)", path.read_text(encoding="utf-8"))}
    missing = 0
    for page in PAGES:
        for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
            for name in NAME.findall(line):
                if name not in defined and name not in OTHERS:
                    missing += 1
                    print(f"{page}:{number}: no test is called {name}")
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
