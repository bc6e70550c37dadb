#!/usr/bin/env python3
"""Checks that every source file which the pages for developers name exists; exits 1 when one does not.

A code span that ends in `.rs` names a file by the end of its path. Words in capitals stand for any name.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ["CONTRIBUTING.md", *(f"docs/{name}.md" for name in ("ARCHITECTURE", "data-model", "failure-modes", "invariants", "state-machines", "STYLE"))]
NAME = re.compile(r"`([\w./<>-]+\.rs)`")
# Names that a page gives as bad examples.
EXAMPLES = {"told.rs"}


def main():
    files = [path.relative_to(ROOT).as_posix() for folder in ("crates", "tests", "examples") for path in (ROOT / folder).rglob("*.rs")]
    missing = 0
    for page in PAGES:
        for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
            for name in NAME.findall(line):
                if name in EXAMPLES:
                    continue
                # `main.rs` of a crate is named by the crate: `store/lib.rs` is `crates/store/src/lib.rs`.
                parts = [re.sub(r"[A-Z]{3,}|<\w+>", r"[^/]+", re.escape(part)) if re.search(r"[A-Z]{3,}|<", part) else re.escape(part) for part in name.split("/")]
                pattern = re.compile(r"(?:^|.*/)" + r"/(?:src/)?".join(parts) + "$")
                if not any(pattern.match(path) for path in files):
                    missing += 1
                    print(f"{page}:{number}: no file is called {name}")
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
