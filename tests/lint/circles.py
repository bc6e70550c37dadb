#!/usr/bin/env python3
"""Finds circles of imports between the source files of each crate.

Usage: circles.py MAX [CRATE...]: exits 1 when there are more than MAX circles.

An edge is a `use crate::…` or `use super::…`, or such a path in an expression. An import of a name that a parent
re-exports is an edge to the file that defines it, and the re-export itself is none. Test modules do not count.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
STRING = re.compile(r'r(#+)".*?"\1|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\\\'])\'', re.DOTALL)
TEST_MODULE = re.compile(r"#\[cfg\([^\]]*\btest\b[^\]]*\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*(;|\{)")
USE = re.compile(r"(pub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);")
DEFINED = re.compile(r"\b(?:fn|struct|enum|trait|union|type|const|static|mod|macro_rules!)\s+(?:mut\s+)?(\w+)")
INLINE = re.compile(r"(?<![\w:])(?:crate|super)(?:\s*::\s*\w+)+")


def matching_brace(text, start):
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    return len(text)


def paths(tree, prefix=()):
    """`a::{b, c as d}` as ((a, b), b), ((a, c), d)."""
    tree = tree.strip()
    head, brace, rest = tree.partition("{")
    if brace:
        prefix += tuple(part.strip() for part in head.split("::") if part.strip())
        depth, item = 0, ""
        for char in rest.rstrip()[:-1] + ",":
            depth += {"{": 1, "}": -1}.get(char, 0)
            if char == "," and depth == 0:
                if item.strip():
                    yield from paths(item, prefix)
                item = ""
            else:
                item += char
        return
    path, _, alias = tree.partition(" as ")
    parts = prefix + tuple(part.strip() for part in path.split("::"))
    if parts[-1] == "self":
        parts = parts[:-1]
    yield parts, alias.strip() or parts[-1]


class Module:
    def __init__(self, path, name):
        self.path, self.name = path, name
        text = STRING.sub('""', COMMENT.sub("", path.read_text(encoding="utf-8")))
        self.tests = set()
        while found := TEST_MODULE.search(text):
            self.tests.add(found[1])
            end = found.end() if found[2] == ";" else matching_brace(text, found.end() - 1)
            text = text[: found.start()] + text[end:]
        self.imports, self.exports = [], []
        for use in USE.finditer(text):
            (self.exports if use[1] else self.imports).extend(paths(use[2]))
        self.body = USE.sub("", text)
        self.defined = set(DEFINED.findall(self.body))


def crate(source):
    modules = {}
    for path in sorted(source.rglob("*.rs")):
        parts = path.relative_to(source).with_suffix("").parts
        if parts[0] == "bin":
            continue
        if parts[-1] in ("mod", "lib", "main"):
            parts = parts[:-1]
        modules[parts] = Module(path, parts)
    tests = {name + (test,) for name, module in modules.items() for test in module.tests}
    return {name: module for name, module in modules.items() if not any(name[: len(t)] == t for t in tests)}


def absolute(module, path):
    """The path from the crate's root; `None` = it leads out of the crate."""
    if path[0] == "crate":
        return path[1:]
    here = module.name
    if path[0] == "self":
        return here + path[1:]
    if path[0] != "super":
        return None
    while path and path[0] == "super":
        here, path = here[:-1], path[1:]
    return here + path


def resolve(modules, path, seen=()):
    """The module that defines what `path` names, and whether the module itself is named."""
    length = max(n for n in range(len(path) + 1) if path[:n] in modules)
    module, rest = modules[path[:length]], path[length:]
    if not rest or rest[0] in module.defined or rest[0] == "*" or path in seen:
        return module, not rest
    for exported, name in module.exports + module.imports:
        whole = absolute(module, exported) or module.name + exported
        if name == rest[0] and any(whole[:n] in modules for n in range(1, len(whole) + 1)):
            return resolve(modules, whole + rest[1:], seen + (path,))
        if name == "*" and whole[:-1] in modules and rest[0] in modules[whole[:-1]].defined:
            return modules[whole[:-1]], False
    return module, False


def edges(modules):
    graph = {}
    for module in modules.values():
        targets = graph.setdefault(module.name, {})

        def add(path):
            target, _ = resolve(modules, path)
            if target is not module:
                targets.setdefault(target.name, set()).add("::".join(path[len(target.name) :]) or path[-1])

        for path, alias in module.imports:
            whole = absolute(module, path)
            if whole is None:
                continue
            if resolve(modules, whole)[1]:
                # A module by its name: what is used of it counts.
                used = re.findall(rf"(?<![\w:]){alias}((?:\s*::\s*\w+)+)", module.body)
                for tail in used:
                    add(whole + tuple(part.strip() for part in tail.split("::")[1:]))
                if used:
                    continue
            add(whole)
        for found in INLINE.findall(module.body):
            add(absolute(module, tuple(part.strip() for part in found.split("::"))))
    return graph


def components(graph):
    """Strongly connected components of more than one module (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in graph[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            cut = stack.index(name)
            if len(stack) - cut > 1:
                found.append(sorted(stack[cut:]))
            del stack[cut:]

    for name in graph:
        if name not in index:
            visit(name)
    return found


def main():
    most = int(sys.argv[1])
    names = sys.argv[2:] or sorted(path.name for path in (ROOT / "crates").iterdir() if path.is_dir())
    count = 0
    sys.setrecursionlimit(10_000)
    for name in names:
        source = ROOT / "crates" / name / "src"
        modules = crate(source)
        graph = edges(modules)
        for circle in components(graph):
            count += 1
            print(f"{name}: a circle of {len(circle)} files")
            for member in circle:
                for target in sorted(set(graph[member]) & set(circle)):
                    label = lambda module: str(modules[module].path.relative_to(source))
                    print(f"  {label(member)} -> {label(target)}: {', '.join(sorted(graph[member][target]))}")
    print(f"{count} circles (at most {most})")
    return int(count > most)


if __name__ == "__main__":
    sys.exit(main())
