"""A command line as Hydra's manual has it: its flags in any order, multirun, and what a mistake says."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from gatecast import cli
from gatecast.cli.frame import Command, NoOptions, command
from gatecast.config import Config, Job, Settings

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., "Said"]


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of recipes alone, and the folder in which commands run."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "pipelines").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("gatecast.cli.frame._ENVIRONMENT", {})
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    # handlers that other tests have left may write to streams that are closed, and new ones would close them
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    return tmp_path


@pytest.fixture
def call(project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process."""

    def run(one: str | Command, *words: str) -> Said:
        monkeypatch.chdir(project)
        monkeypatch.setattr(sys, "argv", ["gatecast", *words])
        code = 0
        try:
            (cli.command(one) if isinstance(one, str) else one)()
        except SystemExit as end:
            code = int(end.code or 0)
        return Said(code, *capfd.readouterr())

    return run


@pytest.mark.parametrize(
    "words",
    [
        "--cfg job model=rnn seed=3",
        "model=rnn --cfg job seed=3",
        "model=rnn seed=3 --cfg=job",
        "model=rnn -c job seed=3 --resolve",
        "--resolve model=rnn --cfg job seed=3",
    ],
)
def test_flags_stand_before_after_and_between_overrides(call: Call, words: str) -> None:
    said = call("train", *words.split())
    assert said.code == 0, said.err
    composed = yaml.safe_load(said.out)
    assert composed["seed"] == 3
    assert composed["model"]["cell"] == "rnn"
    assert composed["fit"]["max_epochs"] == 10


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_each_command_prints_its_configuration(call: Call, name: str) -> None:
    said = call(name, "--cfg", "job", "seed=3")
    assert said.code == 0, said.err
    assert yaml.safe_load(said.out)["seed"] == 3


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--package model --cfg job model=rnn", "cell: rnn"),
        ("--cfg hydra model=rnn", "name: train"),
        ("--cfg all", "hydra:"),
        ("--info model=rnn", "Hydra 1."),
        ("model=rnn --info all", "Hydra 1."),
        ("--info defaults model=rnn", "Defaults List"),
        ("--info defaults-tree model=rnn", "Defaults Tree"),
        ("--info config model=rnn", "cell: rnn"),
        ("--info plugins", "Installed Hydra Plugins"),
        ("-i searchpath model=rnn", "Config search path"),
        ("--version", "Hydra 1."),
        ("-sc install=bash", "hydra_bash_completion"),
        ("--cfg job --config-path ../conf model=rnn", "cell: rnn"),
    ],
)
def test_a_flag_that_prints_needs_nothing_else(call: Call, words: str, line: str) -> None:
    said = call("train", *words.split())
    assert said.code == 0, said.err
    assert line in said.out


def test_hydras_own_help_is_there() -> None:
    """In a process of its own: it sets up logging anew, which closes what other tests have opened."""
    words = [sys.executable, str(ROOT / "pipelines/train.py"), "--hydra-help"]
    env = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert "== Flags ==" in done.stdout


ONE_OF = "must be one of bilstm, deepar, dilated_lstm"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("", "RECIPE", f"`model` is null, but {ONE_OF}"),
        ("model=", "RECIPE", f"`model` is null, but {ONE_OF}"),
        ("model=null", "RECIPE", f"`model` is null, but {ONE_OF}"),
        ("~model", "RECIPE", f"`model` is null, but {ONE_OF}"),
        ("model=lstm trainer=null", "RECIPE", "`trainer` is null, but must be one of auto"),
        ("model=lsmt", "RECIPE", "Did you mean 'lstm'?"),
        ("model=lstm.yaml", "CHOICE", f"`model` is 'lstm.yaml', but {ONE_OF}"),
        ("model=/lstm", "CHOICE", f"`model` is '/lstm', but {ONE_OF}"),
        ("Model=lstm", "UNKNOWN-KEY", "Did you mean 'model'?"),
        ("lstm", "OVERRIDE", "Write model=lstm"),
        ("model=lstm seed", "OVERRIDE", "Write seed=VALUE"),
        ("--model lstm", "OVERRIDE", "Write model=lstm"),
        ("--model=lstm", "FLAG", "Write model=lstm"),
        ("--modle=lstm", "FLAG", "--hydra-help"),
        ("model=lstm -", "FLAG", "there is no flag -."),
        ("model=lstm --", "FLAG", "there is no flag --."),
        ("model=lstm,rnn", "VALUE", "`-m model=lstm,rnn` runs once for each."),
        ("model=[lstm,rnn]", "VALUE", "`-m model=lstm,rnn` runs once for each."),
        ("model=lstm seed=1,2", "VALUE", "`-m seed=1,2` runs once for each."),
        ("model=lstm seed=[1,2]", "VALUE", "`-m seed=1,2` runs once for each."),
        ("model=lstm variants=rnn,gru", "VALUE", "A list is written 'variants=[rnn,gru]'."),
        ("model=lstm variants=grru", "RECIPE", "Did you mean 'gru'?"),
        ("model=lstm seed=[1", "OVERRIDE", "`seed=[1` cannot be read"),
        ("model=lstm seed=${nope}", "VALUE", "the command line: `seed` cannot be used"),
        ("model=lstm hydra/job_logging=nope", "RECIPE", "There are: default, disabled, none"),
        ("model=lstm hydra.nope=1", "VALUE", "the command line: `hydra.nope`"),
        ("model=lstm hydra.run.dir=/proc/no/folder", "HYDRA", "/proc/no"),
        ("model=lstm hydra.job.chdir=true hydra.run.dir=else", "CHDIR", "hydra.job.chdir"),
        ("model=lstm --config-name nope", "HYDRA", "Cannot find primary config 'nope'."),
        ("model=lstm --config-path nope", "HYDRA", "Primary config directory not found."),
        ("model=lstm --config-dir nope", "HYDRA", "not found."),
        ("model=lstm --resolve", "HYDRA", "--resolve"),
        ("model=lstm --cfg job --info", "HYDRA", "Only one of"),
        ("--experimental-rerun nope", "HYDRA", "does not exist"),
    ],
)
def test_a_mistake_is_one_coded_paragraph_with_the_way_out(
    call: Call, words: str, code: str, said: str
) -> None:
    done = call("train", *words.split())
    assert done.code == 2
    assert f"ConfigError[{code}]: the command line: " in done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert "conf/Model" not in done.err


def put(file: str, old: str, new: str) -> None:
    """Replace a text of a file, or append to it."""
    path = Path(file)
    path.parent.mkdir(exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert old in text
    path.write_text(text.replace(old, new) if old else f"{text}{new}\n", encoding="utf-8")


AUTO, EPOCHS = "conf/trainer/auto.yaml", "max_epochs: 10"
RNN = "conf/model/rnn.yaml"
MINE, EVERYWHERE = "conf/experiment/mine.yaml", "# @package _global_\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "words", "said"),
    [
        # a setting of params.yaml
        ("params.yaml", "seed: 1", "seed: -1", "", "params.yaml: `seed` is -1"),
        ("params.yaml", "seed: 1", "seed: -1", "seed=-2", "the command line: `seed` is -2"),
        ("params.yaml", "seed: 1", "seed: ${no}", "", "params.yaml: `seed` cannot be used"),
        ("params.yaml", "margin: 0.01", "margin: x", "", "params.yaml: `promote.margin`"),
        ("params.yaml", "metric: mase", "metric: x", "", "params.yaml: `promote.metric`"),
        ("params.yaml", "", "sed: 1", "", "params.yaml: there is no setting `sed`"),
        ("params.yaml", "  - rnn", "  - rn", "", "params.yaml: `variants` names rn"),
        ("params.yaml", "trainer: auto", "trainer: aut", "", "params.yaml: there is no recipe"),
        ("params.yaml", "trainer: auto", "trainer: [auto]", "", "params.yaml: `trainer` is ["),
        ("params.yaml", "", "fit: {max_epochs: 0}", "", "params.yaml: `fit.max_epochs` is 0"),
        ("params.yaml", "", "model: {cell: x}", "", "params.yaml: `model.cell` is 'x'"),
        ("params.yaml", "", "model: lstm", "", "params.yaml: `model` is 'lstm'"),
        ("conf/config.yaml", "", "seed: -1", "", "conf/config.yaml: `seed` is -1"),
        ("conf/config.yaml", "", "sed: 1", "", "conf/config.yaml: there is no setting `sed`"),
        # a setting of a recipe
        (AUTO, EPOCHS, "max_epochs: 0", "", f"{AUTO}: `max_epochs` is 0"),
        (AUTO, EPOCHS, "epochs: 1", "", f"{AUTO}: there is no setting `epochs`"),
        (AUTO, EPOCHS, "max_epochs: 0", "fit.max_epochs=-1", "the command line: `fit.max_epochs` is -1"),
        (RNN, "cell: rnn", "cell: x", "", f"{RNN}: `cell` is 'x'"),
        (RNN, "dropout: 0.2", "n_experts: 2", "", f"{RNN}: `n_experts`"),
        (RNN, "cell: rnn", "cell: x", "model.cell=y", "the command line: `model.cell` is 'y'"),
        # an experiment as Hydra's manual has it
        (MINE, "", f"{EVERYWHERE}fit: {{max_epochs: 0}}", "+experiment=mine", f"{MINE}: `fit.max_epochs` is 0"),
        (MINE, "", f"{EVERYWHERE}seed: -1", "+experiment=mine", f"{MINE}: `seed` is -1"),
        (MINE, "", f"{EVERYWHERE}seed: -1", "+experiment=mine seed=-2", "the command line: `seed` is -2"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_blamed_on_what_has_set_it(
    call: Call, project: Path, file: str, old: str, new: str, words: str, said: str
) -> None:
    put(file, old, new)
    done = call("explain" if "variants" in said else "train", "model=rnn", *words.split())
    assert done.code == 2
    assert said in done.err
    first = done.err.strip().splitlines()[0]
    assert first.count(".yaml:") + first.count("the command line:") == 1


def test_a_wrong_item_of_a_list_on_the_command_line_is_the_command_lines(call: Call) -> None:
    done = call("ingest", "source=files", "feed.files=[{path: 3}]")
    assert "the command line: `feed.files[0].path` cannot be used: 3" in done.err


@pytest.mark.parametrize("variants", ["variants: linear", "variants: [linear]"])
def test_a_single_value_is_a_list_of_one(call: Call, project: Path, variants: str) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    start, end = text.index("variants:"), text.index("backtest:")
    (project / "params.yaml").write_text(f"{text[:start]}{variants}\n{text[end:]}")
    seen: list[list[str]] = []

    @command(reads=("variants",))
    def main(config: Config, _: NoOptions) -> None:
        seen.append(config.settings.variants)

    call(main)
    call(main, "variants=gru")
    assert seen == [["linear"], ["gru"]]


def test_jobs_of_a_multirun_have_folders_as_hydras_manual_says(call: Call, project: Path) -> None:
    jobs: list[Config] = []

    @command(groups=("trainer", "model"), sweeps=None)
    def main(config: Config, _: NoOptions) -> None:
        assert sys.argv[1:] == [*config.overrides, "hydra.output_subdir=.hydra"]
        jobs.append(config)

    said = call(main, "-m", "model=linear,rnn", "seed=3")
    assert said.code == 0, said.err
    assert [config.variant for config in jobs] == ["linear", "rnn"]
    folders = [config.job.folder for config in jobs if config.job]
    assert [folder.name for folder in folders] == ["0", "1"]
    assert folders[0].parts[0] == "multirun"
    overrides = yaml.safe_load((folders[1] / ".hydra/overrides.yaml").read_text())
    assert overrides == ["trainer=auto", "model=rnn", "++seed=3"]


def test_jobs_that_would_overwrite_each_others_packages_keep_them_apart() -> None:
    def models(job: Job | None) -> Path:
        config = Config(Settings(variants=["rnn"]), {}, {}, [], job)
        return config.folder(Path("models"), "model")

    assert models(None) == Path("models")
    assert models(Job(Path("multirun/0"), frozenset({"model"}))) == Path("models")
    assert models(Job(Path("multirun/0"), frozenset({"model", "seed"}))) == Path(
        "multirun/0/models"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ingest", "source=demo,files"),
        ("evaluate", "promote.metric=mase,smape"),
        ("tune", "model=lstm search.trials=3,4"),
        ("monitor", "as_of=2025-04-01,2025-04-02"),
    ],
)
def test_jobs_that_would_overwrite_each_others_files_are_refused(
    call: Call, name: str, words: str
) -> None:
    done = call(name, "-m", *words.split())
    assert done.code == 2
    assert done.err.count("ConfigError[SWEEP]: `") == 1


def test_what_the_project_sweeps_counts_too(call: Call, project: Path) -> None:
    put("conf/config.yaml", "hydra:\n", "hydra:\n  sweeper: {params: {seed: '1,2'}}\n")
    assert "ConfigError[SWEEP]: `seed` has several values" in call("evaluate", "-m").err


def test_a_job_that_fails_is_named_and_the_others_go_on(call: Call) -> None:
    seeds: list[int] = []

    @command(sweeps=None)
    def main(config: Config, _: NoOptions) -> None:
        seeds.append(config.settings.seed)

    done = call(main, "seed=1,-2,3", "--multirun")
    assert done.code == 2
    assert seeds == [1, 3]
    assert "job 1 (++seed=-2): ConfigError[RANGE]: the command line: `seed` is -2" in done.err
