"""The files for schedulers: each parses as its scheduler reads it, and all call one command, equally often."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from gatecast.cli import catalogue
from gatecast.core.schema import read
from gatecast.schedule.crontab import fault as crontab_fault

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
COMMAND = ["python", "pipelines/score.py", "mode=due"]
EVERY = "*/10 * * * *"


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / name)
    return parser


def cronjob() -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    return next(d for d in documents if d["kind"] == "CronJob")


def container() -> dict[str, Any]:
    pod = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (one,) = pod["containers"]
    return dict(one)


def crontab() -> str:
    lines = (DEPLOY / "crontab").read_text(encoding="utf-8").splitlines()
    (line,) = [x for x in lines if x and not re.match(r"#|\w+=", x)]
    return line


def dag() -> dict[str, Any]:
    """Keywords of the DAG and of its one task, by the names of what is called."""
    tree = ast.parse((DEPLOY / "airflow_dag.py").read_text(encoding="utf-8"))
    return {
        node.func.id: {k.arg: k.value for k in node.keywords}
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def image() -> list[str]:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    return re.sub(r"\\\n\s*", "", text).splitlines()


def commands() -> dict[str, list[str]]:
    (start,) = re.findall(r"&& (.*?) >>", crontab())
    (cmd,) = [line for line in image() if line.startswith("CMD ")]
    exec_start = shlex.split(unit("gatecast-score.service")["Service"]["ExecStart"])
    return {
        "cron": shlex.split(start),
        "systemd": exec_start[1:] if exec_start[0] == "/usr/bin/env" else exec_start,
        "kubernetes": container()["command"],
        "airflow": shlex.split(dag()["BashOperator"]["bash_command"].value),
        "container": json.loads(cmd.removeprefix("CMD ")),
    }


@pytest.mark.parametrize("scheduler", ["cron", "systemd", "kubernetes", "airflow", "container"])
def test_every_scheduler_calls_the_same_command(scheduler: str) -> None:
    assert commands()[scheduler] == COMMAND


def test_the_command_is_one_that_there_is() -> None:
    _, script, option = COMMAND
    assert (ROOT / script).is_file()
    name, _, value = option.partition("=")
    options = read(catalogue.command(Path(script).stem).options, {name: value}, "deploy")
    assert getattr(options, name) == value


def test_every_scheduler_asks_equally_often() -> None:
    calendar = unit("gatecast-score.timer")["Timer"]["OnCalendar"]
    found = {
        "cron": " ".join(crontab().split()[:5]),
        "kubernetes": cronjob()["spec"]["schedule"],
        "airflow": dag()["DAG"]["schedule"].value,
        "systemd": re.sub(r"^\*:0/(\d+)$", r"*/\1 * * * *", calendar),
    }
    assert found == dict.fromkeys(found, EVERY)
    assert crontab_fault(EVERY) is None


def test_a_timer_that_slept_catches_up() -> None:
    timer = unit("gatecast-score.timer")
    assert timer["Timer"]["Persistent"] == "true"
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert unit("gatecast-score.service")["Service"]["Type"] == "oneshot"


def test_a_pod_never_runs_beside_another_and_keeps_its_forecasts() -> None:
    spec = cronjob()["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] >= 60  # below ten seconds a job may never start
    volume = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"][0]
    mounts = {m["mountPath"]: m["name"] for m in container()["volumeMounts"]}
    assert mounts == dict.fromkeys(["/project/data", "/project/forecasts"], volume["name"])
    names = {
        d["metadata"]["name"]
        for d in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
        if d["kind"] == "PersistentVolumeClaim"
    }
    assert volume["persistentVolumeClaim"]["claimName"] in names


def test_a_pod_that_hangs_does_not_block_all_later_ones() -> None:
    assert cronjob()["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 6 * 3600


def test_the_image_is_the_one_that_was_built_here() -> None:
    (built,) = [line for line in image() if line.startswith("# podman build")]
    assert f"-t {container()['image'].removesuffix(':latest')} ." in built
    assert container()["imagePullPolicy"] == "IfNotPresent"  # of `latest`, the default is Always


def test_airflow_leaves_catching_up_to_the_ledger() -> None:
    given = {k: v.value for k, v in dag()["DAG"].items() if isinstance(v, ast.Constant)}
    assert (given["catchup"], given["max_active_runs"]) == (False, 1)


def test_what_the_image_copies_is_there() -> None:
    copied = [name for line in image() if line.startswith("COPY ") for name in line.split()[1:-1]]
    assert {"src", "conf", "pipelines", "params.yaml", "requirements.lock"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    workdir = next(line.split()[1] for line in image() if line.startswith("WORKDIR "))
    assert all(m["mountPath"].startswith(f"{workdir}/") for m in container()["volumeMounts"])


def test_every_file_has_its_section_in_the_docs() -> None:
    page = (ROOT / "docs/scheduling.md").read_text(encoding="utf-8")
    missing = [p.name for p in DEPLOY.iterdir() if f"deploy/{p.name}" not in page]
    assert missing == []
    for name in ("Prefect", "Dagster"):
        assert f"## {name}" in page
    assert " ".join(COMMAND) in page


@pytest.mark.parametrize("scheduler", ["Prefect", "Dagster"])
def test_a_scheduler_in_an_environment_of_its_own_calls_the_projects_python(scheduler: str) -> None:
    page = (ROOT / "docs/scheduling.md").read_text(encoding="utf-8")
    (code,) = re.findall(rf"## {scheduler}\n.*?```python\n(.*?)```", page, re.DOTALL)
    path = unit("gatecast-score.service")["Service"]["Environment"].removeprefix("PATH=")
    lists = [
        ast.literal_eval(n)
        for n in ast.walk(ast.parse(code))
        if isinstance(n, ast.List) and len(n.elts) == 3
    ]
    assert lists == [[f"{path.split(':')[0]}/python", *COMMAND[1:]]]


def test_the_workflow_runs_what_the_script_of_ci_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    (job,) = workflow["jobs"].values()
    steps = [step.get("run", "") for step in job["steps"]]
    made = [line for line in script.splitlines() if line.startswith("make ")]
    assert [step for step in steps if step.startswith("make ")] == made


@pytest.mark.slow
def test_airflow_imports_the_dag_in_an_environment_of_its_own(tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-compile"]
    done = subprocess.run(
        [*pip, "apache-airflow>=3.3,<4"], capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        pytest.skip(f"apache-airflow cannot be installed here: {done.stderr.strip()[-300:]}")
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags/gatecast.py").write_bytes((DEPLOY / "airflow_dag.py").read_bytes())
    script = textwrap.dedent("""
        import json
        from airflow.dag_processing.dagbag import DagBag
        bag = DagBag("dags")
        (dag,) = bag.dags.values()
        (task,) = dag.tasks
        facts = [dag.dag_id, dag.catchup, dag.max_active_runs, task.bash_command, task.cwd]
        print(json.dumps([bag.import_errors, *facts]))
    """)
    env = {"AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    run = subprocess.run(
        [str(python), "-c", script],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    errors, *facts = json.loads(run.stdout.splitlines()[-1])
    assert errors == {}
    assert facts == ["gatecast_score", False, 1, " ".join(COMMAND), "/opt/gatecast"]
