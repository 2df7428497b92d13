"""README and docs name only what there is: commands, make targets, recipes, and Python that can be imported."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

# Names that the pages invent to show what a user would write.
INVENTED = {
    "conf/source/sales.yaml",
    "conf/source/load.yaml",
    "conf/model/janet.yaml",
    "conf/model/last.yaml",
    "conf/model/lstm_tuned.yaml",
    "conf/trainer/lstm_tuned.yaml",
    "src/gatecast/data/sources/sqlite.py",
    "src/gatecast/models/cells/janet.py",
    "src/gatecast/models/decoders/last.py",
    "src/gatecast/scoring/engines/spark.py",
    "src/gatecast/scoring/sinks/announced.py",
}


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def python_blocks() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", text(page), re.DOTALL)):
            yield f"{page.name}-{number}", block


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_a_script_that_there_is(page: Path) -> None:
    named = set(re.findall(r"python (pipelines/\w+\.py)", text(page)))
    assert [script for script in sorted(named) if not (ROOT / script).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_is_in_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text(page), re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    prefixes = "conf|deploy|docs|pipelines|src|tests|tune"
    named = set(re.findall(rf"\b((?:{prefixes})/[\w./-]+\.(?:py|yaml|md|html))\b", text(page)))
    missing = {name for name in named if "NAME" not in name and not (ROOT / name).exists()}
    assert missing - INVENTED == set()


@pytest.mark.parametrize("block", [pytest.param(b, id=name) for name, b in python_blocks()])
def test_every_python_block_parses_and_imports_what_gatecast_has(block: str) -> None:
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gatecast"):
            module = importlib.import_module(str(node.module))
            assert [a.name for a in node.names if not hasattr(module, a.name)] == []


def test_the_readme_leads_to_every_page_of_the_docs() -> None:
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)", text(README)))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - linked == set()


def test_the_readme_names_every_command() -> None:
    commands = {path.stem for path in (ROOT / "pipelines").glob("*.py")} - {"__init__"}
    assert [name for name in sorted(commands) if not re.search(rf"\b{name}\b", text(README))] == []
