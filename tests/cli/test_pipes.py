"""Commands in a pipe whose reader goes away, as in ``status.py | head``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_command_whose_reader_has_gone_ends_without_a_traceback() -> None:
    command = subprocess.Popen(
        [sys.executable, "-u", "pipelines/ingest.py", "source=demo", "check=true"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert command.stdout is not None
    command.stdout.close()
    _, said = command.communicate(timeout=120)
    assert command.returncode == 141
    assert "Traceback" not in said
