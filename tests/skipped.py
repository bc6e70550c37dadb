#!/usr/bin/env python3
"""Prints the tests that did not run: those that `tests/skip.rs` recorded, and the test targets that need more than
`cargo test`. `make test` runs it after the tests. With --reset it only forgets what an earlier run recorded.
"""

import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECORDED = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "tmp/skipped-tests.tsv"
TARGET = re.compile(r'\[\[test\]\]\nname = "(\w+)"\n(?:(?!\[)[^\n]*\n)*?test = false', re.MULTILINE)


def main():
    if "--reset" in sys.argv[1:]:
        RECORDED.unlink(missing_ok=True)
        return
    lines = RECORDED.read_text(encoding="utf-8").splitlines() if RECORDED.exists() else []
    rows = sorted({tuple(line.split("\t", 2)) for line in lines})
    tests = {row[:2] for row in rows}
    print(f"skipped {len(tests)} tests{':' if tests else ''}")
    for target, name, reason in rows:
        print(f"  {target}::{name} ({reason})")
    for name in TARGET.findall((ROOT / "crates/cli/Cargo.toml").read_text(encoding="utf-8")):
        print(f"not run here: all of the target {name}, see `make test-{name}`")


if __name__ == "__main__":
    main()
