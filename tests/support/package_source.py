"""The package as its source has it: its modules, and which of them import which."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import streamhub

PACKAGE = Path(streamhub.__file__).parent


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name below ``streamhub``; the package itself is ''."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str, *, when_called: bool = True) -> tuple[frozenset[str], frozenset[str]]:
    """Which modules of ours and which top-level packages of others ``module`` imports, for types
    alone as well.

    :param when_called: those that stand in a function, too.
    """
    ours, others = set[str](), set[str]()
    path = modules()[module]
    package = ["streamhub", *path.relative_to(PACKAGE).parts[:-1]]
    for node in _nodes(ast.parse(path.read_text()), when_called):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            top, _, inner = name.partition(".")
            if top != "streamhub":
                others.add(top)
            elif inner in modules():
                ours.add(inner)
            else:
                ours.add(inner.rpartition(".")[0])
    return frozenset(ours), frozenset(others)


def _nodes(tree: ast.AST, into_functions: bool) -> list[ast.AST]:
    found: list[ast.AST] = []
    left: list[ast.AST] = [tree]
    while left:
        node = left.pop()
        found.append(node)
        if into_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            left += ast.iter_child_nodes(node)
    return found
