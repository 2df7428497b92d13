"""A command pays only for what it uses: torch costs 1.5 CPU seconds, MLflow as much, pandas half a second."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "mlflow", "pytorch_lightning", "optuna", "sklearn", "matplotlib"}


def imported(code: str) -> set[str]:
    """Top-level modules in a fresh process after some code."""
    code += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_settings_and_commands_are_known_without_pandas_or_torch() -> None:
    assert not imported("import gatecast.config, gatecast.cli") & (HEAVY | {"pandas"})


def test_what_is_published_already_and_what_there_is_are_told_without_torch() -> None:
    rooms = (
        "from gatecast.registry import aliases; from gatecast.reports import lineage, page, status"
    )
    assert not imported(f"{rooms}; from gatecast.scoring import run") & {"torch", "matplotlib"}


@pytest.mark.parametrize("command", ["ingest", "window"])
def test_a_feed_becomes_a_panel_without_torch_and_mlflow(command: str) -> None:
    rooms = "from gatecast.data import build_panel, ingest, sources, windows"
    assert not imported(f"import gatecast.cli.commands.{command}; {rooms}") & HEAVY
