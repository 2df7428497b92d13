"""What a module imports from gatecast, read from the source: at its top and inside functions, not for types only."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterator
from pathlib import Path


def path_of(src: Path, module: str) -> Path | None:
    """The file of a module, or of the ``__init__`` of a package; None if there is none."""
    base = src.joinpath(*module.split("."))
    package, file = base / "__init__.py", base.with_suffix(".py")
    return package if package.is_file() else file if file.is_file() else None


def imported(src: Path, module: str) -> set[str]:
    """The modules that one imports directly, and the packages they are in."""
    path = path_of(src, module)
    assert path is not None, module
    found = set()
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] == "gatecast" and path_of(src, name):
                parts = name.split(".")
                found |= {".".join(parts[: k + 1]) for k in range(len(parts))}
    return found


def reached(src: Path, module: str, but: Container[str] = ()) -> set[str]:
    """All modules that one imports, itself among them; what ``but`` holds is neither named nor followed."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in seen and name not in but:
            seen.add(name)
            todo += imported(src, name)
    return seen


def _statements(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from _statements(node)
