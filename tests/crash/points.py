"""All crash points, found in the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("labctl", "campaigns", "instruments", "materials_db")


@cache
def crashpoints() -> dict[str, list[str]]:
    """Name of each point -> the places where it stands."""
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name, line in passages(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(name, []).append(f"{path.relative_to(ROOT)}:{line}")
    return found


def passages(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Calls of `crashpoint` with the names that they pass. Raises TypeError for a name that is not written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node.func) == "crashpoint":
            if len(node.args) != 1 or not isinstance(node.args[0], ast.Constant):
                raise TypeError(f"line {node.lineno}: a crash point's name must be written out")
            yield str(node.args[0].value), node.lineno


def called(function: ast.expr) -> str:
    """The last part of what is called."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
