#!/usr/bin/env python3
"""Checks the register of comments and docs (docs/STYLE.md) and the names of source files.

Usage: words.py [PATH...]: only these files and folders. Without one, the whole tree, with its budgets.
Exits 1 when a budget is exceeded or a source file has a forbidden name.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORDS = re.compile(r"\b(whoever|nobody|somebody|whom|told)\b", re.IGNORECASE)
TOTAL_MAX = 20
# The ports are what an adapter's author reads first.
STRICT = ROOT / "crates/domain/src/ports"
# Quotes the words that it forbids; is generated from texts of the interface.
EXEMPT = (ROOT / "docs/STYLE.md", ROOT / "docs/kinds")
# File names by mood or metaphor; each had a term of the field in its place.
FORBIDDEN_STEMS = frozenset(
    """asks bodies chance derived discreet doubts estate flow gate ground land landing life lives look news nudge normal outgrown
    probe put_back recent replacing rest script shape stage stand_ins steer stranded told tail trouble uses walk wish words""".split()
)
CODE_SPAN = re.compile(r"`[^`]*`")


def comment(line):
    """The comment of a line of Rust; empty when it has none. `//` inside a string literal begins none."""
    at = line.find("//")
    while at >= 0:
        before = line[:at].replace('\\"', "")
        if before.count('"') % 2 == 0 and not before.endswith(":"):
            return line[at:]
        at = line.find("//", at + 2)
    return ""


def hits(path):
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        prose = comment(line) if path.suffix == ".rs" else line
        for word in WORDS.findall(CODE_SPAN.sub("", prose)):
            yield number, word, line.strip()


def files(roots):
    for root in roots:
        found = [root] if root.is_file() else sorted(root.rglob("*"))
        for path in found:
            exempt = any(path.is_relative_to(exempt) for exempt in EXEMPT)
            if path.suffix in (".rs", ".md") and not exempt and "target" not in path.parts:
                yield path


def main():
    named = [pathlib.Path(argument).resolve() for argument in sys.argv[1:]]
    roots = named or [ROOT / name for name in ("crates", "tests", "docs", "README.md", "CONTRIBUTING.md")]
    total, strict, misnamed = 0, 0, []
    for path in files(roots):
        name = path.relative_to(ROOT)
        for number, word, line in hits(path):
            total += 1
            strict += path.is_relative_to(STRICT)
            print(f"{name}:{number}: {word}: {line}")
        in_source = name.parts[0] == "crates" and "src" in name.parts
        for stem in {path.stem, path.parent.name} if in_source else ():
            if stem in FORBIDDEN_STEMS:
                misnamed.append(str(name))
    for name in misnamed:
        print(f"{name}: a file named by mood: use the field's term (docs/STYLE.md)")
    print(f"{total} words (at most {TOTAL_MAX}), {strict} of them in ports (0), {len(misnamed)} file names (0)")
    return int(total > TOTAL_MAX or strict > 0 or bool(misnamed))


if __name__ == "__main__":
    sys.exit(main())
