"""The frame of the commands: help, and what a mistake on the command line says."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = sorted(p.stem for p in (ROOT / "pipelines").glob("*.py"))


def run(command: str, *args: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "pipelines" / f"{command}.py")
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, script, *args], capture_output=True, text=True, env=env, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_the_command_does_and_which_recipes_there_are(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    source = (ROOT / "pipelines" / f"{command}.py").read_text(encoding="utf-8")
    assert done.stdout.startswith(source.split('"""')[1].splitlines()[0])
    assert "source: beijing_pm25, bike_sharing, demo, etth1, files, m4_hourly" in done.stdout


def test_help_works_beside_a_chosen_recipe() -> None:
    assert "kind: linear" in run("train", "model=linear", "--help").stdout


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["hozizon=3"], "UNKNOWN-KEY", "Did you mean 'horizon'?"),
        (["source=demmo"], "RECIPE", "Did you mean 'demo'?"),
        (["seed=abc"], "VALUE", "`seed`"),
        (["feed.task.horizon=-3"], "RANGE", "`task.horizon` is -3"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_coded_paragraph(
    args: list[str], code: str, said: str
) -> None:
    done = run("ingest", "check=true", *args)
    assert done.returncode != 0
    assert f"ConfigError[{code}]" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "args", "said"),
    [
        ("score", ["mode=rollback"], "none of now, due, backfill"),
        ("score", ["to=2025-03-01"], "`to` and `mode=backfill` need each other"),
        ("serve", [], "`schedule.cron` is null"),
    ],
)
def test_what_a_command_cannot_do_is_said_before_any_work(
    command: str, args: list[str], said: str
) -> None:
    done = run(command, *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("address", "code"), [("", "ADDRESS"), ("postgresql://me:secret@127.0.0.1:1/x", "UNREACHABLE")]
)
def test_a_database_of_forecasts_that_is_not_there_ends_a_command_with_two(
    monkeypatch: pytest.MonkeyPatch, address: str, code: str
) -> None:
    monkeypatch.setenv("GATECAST_SINK_URI", address)
    done = run("monitor", "sink=postgres")
    assert done.returncode == 2
    assert f"Error[{code}]" in done.stderr
    assert "GATECAST_SINK_URI" in done.stderr
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_needs_a_recipe_names_the_choices() -> None:
    done = run("train")
    assert done.returncode != 0
    assert (
        "bilstm, deepar, dilated_lstm, ensemble, event_lstm, gru, linear, logistic, lstm, "
        "lstm_experts, rnn, seggru, seq2seq, stacked_lstm" in done.stderr
    )


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_is_stopped_ends_what_is_under_way(
    tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    """Also outside a training: what the block around the work does at its end is done."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "pipelines").mkdir()
    script = tmp_path / "pipelines" / "wait.py"
    script.write_text(
        '"""Wait."""\nimport time\nfrom gatecast.cli import entry\n'
        "@entry()\ndef main(config):\n    try:\n"
        "        print('begun', flush=True)\n        time.sleep(600)\n"
        "    finally:\n        print('ended', flush=True)\nmain()\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(sent)
    out, err = process.communicate(timeout=240)
    assert out == "ended\n"
    assert process.returncode == code
    assert "Traceback" not in err
