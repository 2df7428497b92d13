"""A clone of the project with a small demo, in which the belt has run once: shared by all tests that need one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from gatecast.registry.mlflow import store
from tests.servers import PG_CTL, Postgres

ROOT = Path(__file__).resolve().parents[1]

# A shell gives its background jobs an ignored SIGINT, which children inherit: commands under test must see Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Clone:
    """A checkout of the project in a folder of its own."""

    path: Path

    def run(
        self, *command: str, check: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone with the clone's own source."""
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment(**env),
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
            )
        return done

    def environment(self, **env: str) -> dict[str, str]:
        base = {
            k: v
            for k, v in os.environ.items()
            # a clone's own `make` is nobody's child
            if not k.startswith(("GATECAST_", "MLFLOW_", "DVC_", "MAKE", "MFLAGS"))
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{base['PATH']}"
        return base | {"PATH": path, "PYTHONPATH": "src", "PYTHONWARNINGS": "ignore"} | env

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace a text that must be there."""
        path = self.path / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} does not contain {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")


def make_clone(path: Path) -> Clone:
    """Clone what git tracks, as it lies in the working tree, with a 12-series demo and the smoke trainer."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if name and source.is_file() and name != "dvc.lock":
            target = path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    clone = Clone(path)
    clone.edit("conf/source/demo.yaml", "n_series: 200", "n_series: 12")
    clone.edit("conf/source/demo.yaml", "n_days: 100", "n_days: 40")
    clone.edit("params.yaml", "trainer: auto", "trainer: smoke")
    for command in (
        ["git", "init", "-q", "-b", "main"],
        ["git", "config", "user.email", "test@gatecast.invalid"],
        ["git", "config", "user.name", "test"],
        ["git", "add", "-A"],
        ["git", "commit", "-q", "-m", "clone"],
    ):
        subprocess.run(command, cwd=path, check=True)
    return clone


@pytest.fixture
def fresh_clone(tmp_path: Path) -> Clone:
    """A clone of one's own, in which nothing has run."""
    return make_clone(tmp_path / "clone")


@pytest.fixture(scope="session")
def belt(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Clone:
    """A clone in which `dvc repro` and one scoring have run; one for all workers, so leave it as you found it."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent
    path = base / "belt"
    with FileLock(base / "belt.lock"):
        if (path / ".ready").is_file():
            return Clone(path)
        clone = make_clone(path)
        clone.edit("params.yaml", "  - lstm_experts\n  - linear\n", "  - linear\n  - seggru\n")
        clone.edit("params.yaml", "  - rnn\n", "")
        for command in (["add", "params.yaml"], ["commit", "-qm", "four variants"]):
            clone.run("git", *command)
        (path / "first.log").write_text(clone.run("dvc", "repro").stdout, encoding="utf-8")
        (path / "score.log").write_text(
            clone.run("python", "pipelines/score.py").stdout, encoding="utf-8"
        )
        (path / ".ready").touch()
        return clone


@pytest.fixture(scope="session")
def clone_into() -> Callable[[Path], Clone]:
    """:func:`make_clone`, for tests that choose the folder."""
    return make_clone


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with all its tables: making them takes seconds, copying them none."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store.client()
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL; whoever stops it starts it again."""
    if PG_CTL is None:
        pytest.skip("no PostgreSQL is installed (Debian: apt-get install postgresql)")
    server = Postgres()
    yield server
    server.stop()
    shutil.rmtree(server.folder)
