"""What messages, help and documentation tell people to type: one way to call a command, and only commands there are."""

from __future__ import annotations

import re
from pathlib import Path

from gatecast.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HINTS = [
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "conf").rglob("*.yaml"),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "params.yaml",
]
# What these say is which process runs, not what to type.
PROCESSES = {"distributed.py", "serve.py", "scheduling.md"}


def test_commands_are_called_gatecast_name() -> None:
    scripts = [
        str(path.relative_to(ROOT))
        for path in HINTS
        if path.name not in PROCESSES and "python pipelines/" in path.read_text(encoding="utf-8")
    ]
    assert scripts == []


def test_every_command_that_is_named_exists() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in HINTS)
    quoted = re.findall(r"(?:`|&& )gatecast ([a-z]\w*)(?=[` \n])", text)
    lines = re.findall(r"^gatecast ([a-z]\w*)(?= {2}|\n| \S*[=#])", text, re.M)
    named = {*quoted, *lines}
    assert {"score", "ingest", "new"} <= named
    assert named <= {*COMMANDS}
