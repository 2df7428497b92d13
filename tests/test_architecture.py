"""The house stands as docs/architecture.md draws it: floors, rooms, sizes, and links that lead somewhere.

The table of floors in docs/architecture.md is the rule. Imports are read from the syntax tree, wherever they stand:
at the top of a file, inside a function, or under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
HOUSE = ROOT / "docs" / "architecture.md"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks/RESULTS.md"])

MAX_LINES = 400
MAX_SHARE = 0.20

# (importing file, imported file): why it may.
EXCEPTIONS = {
    ("cli.catalogue", "cli.frame"): "it names the type that it returns; nothing runs",
    ("cli.help", "cli.frame"): "it names the type that it is given; nothing runs",
    ("cli.judge", "cli.frame"): "it names the type that it is given; nothing runs",
    ("core.forecast", "data.panel"): "a protocol names the type it is given; nothing runs",
    ("core.forecast", "data.windows"): "a protocol names the type it is given; nothing runs",
}

# Libraries with one home: whoever else imports them makes a light command heavy, or a second way of doing one thing.
HOMES = {
    "dvc": (),
    "duckdb": ("scoring/sinks/duckdb.py",),
    "hydra": ("cli.py", "cli/"),
    "jinja2": ("reports/",),
    "matplotlib": ("evaluation/", "reports/"),
    "mlflow": ("registry/", "reports/"),
    "optuna": ("tuning/",),
    "psycopg": ("scoring/sinks/postgres.py",),
    "pytorch_lightning": ("training/", "tuning/", "registry/mlflow/"),
    "ray": ("scoring/engines/ray.py",),
}


def modules() -> dict[str, Path]:
    """Name below ``gatecast`` (``scoring.run``; a room's ``__init__`` by the room's name) to file."""
    names = {}
    for path in sorted((SOURCE / "gatecast").rglob("*.py")):
        parts = path.relative_to(SOURCE / "gatecast").with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Full names of everything a file imports, with the line: ``from a import b`` gives ``a.b``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def own(name: str) -> str | None:
    """The file that an imported name belongs to: ``gatecast.core.errors.ConfigError`` -> ``core.errors``; else None."""
    parts = name.split(".")
    if parts[0] != "gatecast":
        return None
    for end in range(len(parts), 0, -1):
        if (module := ".".join(parts[1:end])) in MODULES:
            return module
    return None


def edges() -> dict[tuple[str, str], int]:
    """(importing file, imported file) of gatecast, with the line of the import."""
    return {
        (module, target): line
        for module, path in MODULES.items()
        for name, line in imported(path)
        if (target := own(name)) is not None and target != module
    }


EDGES = {edge: line for edge, line in edges().items() if edge not in EXCEPTIONS}


def floors() -> dict[str, int]:
    """Room to floor, from the table of docs/architecture.md; a higher number lies higher."""
    rows = re.findall(r"^\| (\d+) \| `([\w.]+)/?` \|", HOUSE.read_text(encoding="utf-8"), re.M)
    return {room.removesuffix(".py"): int(floor) for floor, room in rows}


def room(module: str) -> str:
    return module.split(".")[0] or "__init__"


def test_the_table_of_floors_names_every_room_and_no_other() -> None:
    assert set(floors()) == {room(module) for module in MODULES}


def test_imports_run_downhill() -> None:
    floor = floors()
    uphill = [
        f"{MODULES[a].relative_to(ROOT)}:{line} imports {b}"
        for (a, b), line in EDGES.items()
        if room(a) != room(b) and floor[room(a)] <= floor[room(b)]
    ]
    assert uphill == []


def test_every_exception_is_still_needed() -> None:
    assert [edge for edge in EXCEPTIONS if edge not in edges()] == []


def reached(start: str) -> set[str]:
    """Files that a file imports, directly or through others."""
    seen: set[str] = set()
    ahead = [b for a, b in EDGES if a == start]
    while ahead:
        module = ahead.pop()
        if module not in seen:
            seen.add(module)
            ahead += [b for a, b in EDGES if a == module]
    return seen


def test_no_files_import_each_other_in_a_circle() -> None:
    assert [module for module in MODULES if module in reached(module)] == []


def test_nothing_in_the_package_imports_commands_benchmarks_or_tests() -> None:
    outside = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in MODULES.values()
        for name, line in imported(path)
        if name.split(".")[0] in ("pipelines", "benchmarks", "tests")
    ]
    assert outside == []


@pytest.mark.parametrize("library", HOMES)
def test_a_heavy_library_is_imported_only_where_it_is_at_home(library: str) -> None:
    strangers = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in MODULES.values()
        for name, line in imported(path)
        if name.split(".")[0] == library
        and not path.relative_to(SOURCE / "gatecast").as_posix().startswith(HOMES[library] or "-")
    ]
    assert strangers == []


@pytest.mark.parametrize("library", ["pandas", "mlflow", "hydra", "omegaconf", "pytorch_lightning"])
def test_models_are_pure_torch(library: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for module, path in MODULES.items()
        if room(module) == "models"
        for name, line in imported(path)
        if name.split(".")[0] == library
    ]
    assert found == []


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_longer_than_a_sitting() -> None:
    long = {module: lines(path) for module, path in MODULES.items() if lines(path) > MAX_LINES}
    assert long == {}


def test_no_room_is_a_fifth_of_the_house() -> None:
    sizes: dict[str, int] = {}
    for module, path in MODULES.items():
        sizes[room(module)] = sizes.get(room(module), 0) + lines(path)
    whole = sum(sizes.values())
    assert {name: n for name, n in sizes.items() if n > MAX_SHARE * whole} == {}


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []
