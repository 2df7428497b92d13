"""Completion: what a shell offers for a line that is half written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gatecast.cli import completion

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("gatecast sco", ["score "]),
        ("gatecast --comp", ["--completion "]),
        ("gatecast score mo", ["mode="]),
        ("gatecast score mode=", ["mode=now ", "mode=due ", "mode=backfill "]),
        ("gatecast ingest check=", ["check=true ", "check=false "]),
        ("gatecast train model=ls", ["model=lstm ", "model=lstm_experts "]),
        ("gatecast score as_of=", []),
        ("gatecast scroe m", []),
    ],
)
def test_a_line_is_completed(
    monkeypatch: pytest.MonkeyPatch, line: str, offered: list[str]
) -> None:
    monkeypatch.chdir(ROOT / "docs")
    assert completion.candidates(line) == offered


def test_settings_of_a_recipe_are_offered_once_it_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert completion.candidates("gatecast train model.hid") == []
    assert completion.candidates("gatecast train model=lstm model.hid") == ["model.hidden_size="]


def test_outside_a_project_commands_are_completed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert completion.candidates("gatecast sco") == ["score "]
    assert completion.candidates("gatecast score mode=d") == ["mode=due "]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_gets_only_what_comes_after_the_equals_sign() -> None:
    """It breaks words there."""
    line = "gatecast score mode=b"
    script = f"""
        gatecast() {{ "{sys.executable}" -m gatecast "$@"; }}
        source <(gatecast --completion)
        COMP_LINE="{line}" COMP_POINT={len(line)}
        _gatecast
        printf '[%s]' "${{COMPREPLY[@]}}"
        complete -p gatecast
    """
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=env, cwd=ROOT, check=True
    )
    assert done.stdout.startswith("[backfill ]complete ")
