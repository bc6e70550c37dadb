#!/usr/bin/env python3
"""Writes docs/MODULES.md: every source file of every crate with the first sentence of its `//!` comment.

Usage: module_index.py [--check]: with --check nothing is written; exits 1 when the page is not current. Exits 1 also
when a file has no `//!` comment. Test modules are left out.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/MODULES.md"
CRATES = ("domain", "store", "engine", "drivers", "api", "cli")
HEAD = """# Modules

Every source file with the first sentence of its `//!` comment, made by `make docs`; `make lint` checks it. Test modules are left out.
The order of crates is that of their dependencies. What the parts do together: [ARCHITECTURE](ARCHITECTURE.md).
"""
LINK = re.compile(r"\[(`[^`\]]+`)\](?:\([^)]*\))?")
# A full stop ends a sentence before a space; a colon at the end of a line begins a list.
SENTENCE = re.compile(r"^(.*?[.!?:])(?:\s|$)")


def summary(path):
    """The first sentence of the comment; empty when the file has none."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//!") or not line[3:].strip():
            break
        lines.append(line[3:].strip())
    text = LINK.sub(r"\1", " ".join(lines)).replace("|", "\\|")
    while True:
        found = SENTENCE.match(text)
        if not found or not found[1].endswith(":"):
            return found[1] if found else text
        # A colon inside the paragraph joins what follows it.
        rest = text[found.end() :]
        tail = re.match(r"^(.*?[.!?])(?:\s|$)", rest)
        return f"{found[1]} {tail[1]}" if tail else text


def is_test(parts):
    return "tests" in parts or parts[-1] == "tests.rs"


def page():
    text, missing = HEAD, []
    for crate in CRATES:
        source = ROOT / "crates" / crate / "src"
        folders = {}
        for path in sorted(source.rglob("*.rs")):
            parts = path.relative_to(source).parts
            if not is_test(parts):
                folders.setdefault(parts[:-1], []).append(path)
        text += f"\n## {crate}\n"
        for folder in sorted(folders):
            name = "/".join(("crates", crate, "src") + folder)
            text += f"\n### `{name}`\n\n| File | Holds |\n|---|---|\n"
            root = {"mod.rs": 0, "lib.rs": 0, "main.rs": 0}
            for path in sorted(folders[folder], key=lambda path: (root.get(path.name, 1), path.name)):
                first = summary(path)
                if not first:
                    missing.append(path.relative_to(ROOT))
                text += f"| [{path.name}](../{path.relative_to(ROOT)}) | {first} |\n"
    return text, missing


def main():
    text, missing = page()
    for path in missing:
        print(f"{path} has no //! comment")
    if "--check" in sys.argv[1:]:
        written = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        if written != text:
            print("docs/MODULES.md is out of date: make docs")
            return 1
    else:
        PAGE.write_text(text, encoding="utf-8")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
