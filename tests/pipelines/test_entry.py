"""The frame of the commands: help, and what a mistake on the command line says."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gatecast import cli
from gatecast.cli.commands import lineage
from gatecast.cli.project import recipes
from gatecast.cli.words import rewritten as rewrite

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = cli.COMMANDS


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
    for group in cli.command(command).groups:
        assert f"\n  {group}: " in done.stdout
        for recipe in recipes(group):
            assert recipe in done.stdout


def test_help_works_beside_a_chosen_recipe() -> None:
    assert "kind: linear" in run("train", "model=linear", "--help").stdout


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["hozizon=3"], "UNKNOWN-KEY", "Did you mean 'horizon'?"),
        (["source=demmo"], "RECIPE", "Did you mean 'demo'?"),
        (["seed=abc"], "VALUE", "`seed`"),
        (["feed.task.horizon=-3"], "RANGE", "`feed.task.horizon` is -3"),
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
        ("score", ["mode=rollback"], "one of now, due, backfill"),
        ("score", ["to=2025-03-01"], "`to` requires mode=backfill"),
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
    assert "lstm_experts, mingru, rnn, seggru, seq2seq, slstm, stacked_lstm" in done.stderr


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
        '"""Wait."""\nimport time\nfrom gatecast.cli.frame import command\n'
        "@command()\ndef main(config, _):\n    try:\n"
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


def gatecast(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """The console script, in a folder."""
    command = [sys.executable, "-c", "from gatecast.cli import main; main()", *args]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, check=False)


def test_the_console_script_lists_the_commands() -> None:
    done = gatecast("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in done.stdout


def test_the_console_script_runs_a_command_from_a_folder_below_the_project() -> None:
    done = gatecast("ingest", "check=true", "feed.demo.n_series=3", cwd=ROOT / "docs")
    assert done.returncode == 0, done.stderr
    assert "3 series" in done.stdout
    assert not (ROOT / "docs/data").exists()


def test_the_console_script_outside_a_project_says_so(tmp_path: Path) -> None:
    done = gatecast("status", cwd=tmp_path)
    assert done.returncode == 2
    assert "ConfigError[PARAMS]" in done.stderr


def test_a_misspelt_command_is_refused_with_the_nearest_one() -> None:
    done = gatecast("scroe")
    assert done.returncode == 2
    assert "ConfigError[COMMAND]: there is no command `scroe`. Did you mean 'score'?" in done.stderr


def test_an_option_of_another_command_is_refused_with_those_there_are() -> None:
    done = run("ingest", "version=7")
    assert done.returncode == 2
    assert (
        "ConfigError[UNKNOWN-KEY]: the command line: there is no setting `version`" in done.stderr
    )
    assert "It is an option of `lineage`." in done.stderr
    assert "Options of `ingest`: check, fingerprint." in done.stderr


def test_a_setting_that_a_recipe_leaves_out_is_overridden_without_a_plus() -> None:
    done = run(
        "train",
        "--cfg",
        "job",
        "model=lstm",
        "model.linear_skip=fixed",
        "+model.n_seeds=2",
        "~seed",
    )
    assert done.returncode == 0, done.stderr
    whole = yaml.safe_load(done.stdout)
    assert whole["model"] | {"linear_skip": "fixed", "n_seeds": 2} == whole["model"]
    assert "seed" not in whole


def test_a_sweep_runs_once_per_value() -> None:
    done = run("ingest", "-m", "check=true", "feed.demo.n_series=3,4", "feed.demo.n_days=14")
    assert done.returncode == 0, done.stderr
    assert "3 series" in done.stdout
    assert "4 series" in done.stdout


def test_an_event_on_the_command_line_takes_the_place_of_the_recipe_s_in_a_sweep_too() -> None:
    """The recipe of the demo has one above a threshold."""
    events = "feed.task.event={below: 5},{above: 7}"
    done = run("ingest", "-m", "check=true", "feed.demo.n_series=3", events)
    assert done.returncode == 0, done.stderr
    one = run("ingest", "--cfg", "job", "feed.task.event={below: 5}")
    assert yaml.safe_load(one.stdout)["feed"]["task"]["event"] == {"below": 5}


def test_a_wrong_model_override_is_blamed_on_the_command_line_alone() -> None:
    done = run("train", "model=lstm", "model.units=many")
    assert done.returncode == 2
    assert "remark: the command line: `model.units` is now `model.hidden_size`" in done.stdout
    assert "ConfigError[RANGE]: the command line: `model.hidden_size` is 'many'" in done.stderr
    assert "conf/model" not in done.stderr


@pytest.mark.parametrize("text", ["", "horizon: 24\n"])
def test_a_recipe_without_its_package_is_told_which_line_to_write(
    tmp_path: Path, text: str
) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "conf/source/mine.yaml").write_text(text)
    done = gatecast("ingest", "source=mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "conf/source/mine.yaml sets nothing under `feed`." in done.stderr
    assert "Put `# @package feed` on its first line" in done.stderr


def test_help_works_where_a_setting_is_missing(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "params.yaml").write_text("seed: 3\n")
    done = gatecast("train", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"seed +whole number +3 \(default 1\) +Random seed for training\.", done.stdout
    )


@pytest.mark.parametrize(
    ("words", "rewritten"),
    [
        (["seed=3"], ["source=demo", "++seed=3"]),
        ([], ["source=demo"]),
        (["+a=1", "~b", "++c=2"], ["source=demo", "+a=1", "~b", "++c=2"]),
        (["model=lstm", "hydra.verbose=true"], ["source=demo", "model=lstm", "hydra.verbose=true"]),
        (["digest=2330", "version=7"], ["source=demo", "++digest='2330'", "++version=7"]),
        (["digest=12e4"], ["source=demo", "++digest='12e4'"]),
    ],
    ids=str,
)
def test_the_words_of_a_command_line_keep_their_order(
    words: list[str], rewritten: list[str]
) -> None:
    assert rewrite(words, ["source=demo"], lineage.Options) == rewritten


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_the_settings_that_a_command_reads(name: str) -> None:
    """What stands in ``reads`` is what the body takes from ``settings``; recipes' names are listed by group."""
    source = Path(str(importlib.import_module(f"gatecast.cli.commands.{name}").__file__))
    tree = ast.parse(source.read_text(encoding="utf-8"))
    attributes = (ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute))
    chains = {re.sub(r"^(config\.)?settings\.", "", a) for a in attributes if "settings." in a}
    read = {c for c in chains if not any(o.startswith(f"{c}.") for o in chains)}
    assert read - {"source", "trainer", "tune"} == set(cli.command(name).reads) - {"source"}
