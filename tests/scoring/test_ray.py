"""The Ray engine on a real cluster of two nodes: the bytes of the local engine, whatever dies."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest

from gatecast.core.errors import ScoringError
from gatecast.data.build_panel import build_panel
from gatecast.data.config import Feed, Task
from gatecast.registry import package
from gatecast.scoring import read_forecasts, store
from gatecast.scoring.config import Score
from gatecast.scoring.engines import engine, local
from gatecast.scoring.engines import ray as on_ray
from gatecast.scoring.run import score
from gatecast.scoring.run_spec import RunSpec, ShardFile
from gatecast.training import trainer
from gatecast.training.config import Fit
from tests.recipes import model_of

SHARDS, SERIES, HORIZON = 40, 400, 6


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each; `ray.init` finds them by RAY_ADDRESS."""
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'gatecast[ray]')")
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
        nodes = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        nodes.add_node(num_cpus=1)
        patch.setenv("RAY_ADDRESS", nodes.address)
        yield nodes
        nodes.shutdown()


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> RunSpec:
    """Forty small shards of a ridge; no registry is needed."""
    folder = tmp_path_factory.mktemp("spec")
    stamps = pd.date_range("2025-01-01", periods=120, freq="h")
    rng = np.random.default_rng(1)
    rows = [
        pd.DataFrame({"unique_id": f"s{i}", "ds": stamps, "y": i + rng.normal(0, 1, len(stamps))})
        for i in range(SERIES)
    ]
    frame = pd.concat(rows, ignore_index=True)
    ids = pd.DataFrame({"unique_id": [f"s{i}" for i in range(SERIES)]})
    built = build_panel(
        frame, ids, Feed(name="tiny", frequency="h", task=Task(horizon=HORIZON, season_length=24))
    )
    built.save(folder / "panel")
    model = model_of(kind="linear")
    trained = trainer.train("linear", built, model, Fit(), 1)
    digest = package.write(folder / "package", "linear", model, 1, built.meta, trained)
    return RunSpec(
        source="tiny", run_key="k", package=str(folder / "package"), panel=str(folder / "panel"), address="",
        shards=SHARDS, token=3, fallback="seasonal_naive",
        provenance={"model_digest": digest, "run_key": "k", "scored_at": "2025-01-06T00:00:00+00:00"},
    )  # fmt: skip


@pytest.fixture
def here(spec: RunSpec, tmp_path: Path) -> Callable[[str], RunSpec]:
    """The run, with its shard files in a folder of the test."""
    return lambda name: replace(spec, address=str(tmp_path / name))


def bytes_of(found: list[ShardFile]) -> list[tuple[int, str, int, str]]:
    return sorted((p.shard, p.name, p.rows, p.sha256) for p in found)


def actors() -> list[psutil.Process]:
    """Processes of the cluster's actors."""
    mine = psutil.Process().children(recursive=True)
    return [p for p in mine if p.is_running() and "ray::Scorer" in " ".join(p.cmdline()[:1])]


def whole(folder: str) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(p) for p in sorted(Path(folder).glob("*.parquet"))])


@pytest.mark.slow
def test_an_actor_killed_at_its_work_costs_no_row_and_doubles_none(
    cluster: Any, here: Callable[[str], RunSpec]
) -> None:
    alone = bytes_of(list(local.compute(here("local"), range(SHARDS))))
    at_work = on_ray.cluster(here("ray"), range(SHARDS), 2)
    done, when_killed = [next(at_work)], []
    victim = actors()[0]
    victim.suspend()  # a shard is given to it now, which it cannot end

    def kill() -> None:
        when_killed.append(len(done))
        victim.kill()

    killer = threading.Timer(2, kill)
    killer.start()
    for file in at_work:
        done.append(file)
    killer.join()
    assert when_killed[0] < SHARDS
    assert bytes_of(done) == alone  # those of this machine
    assert len(list(Path(here("ray").address).glob("*.parquet"))) == SHARDS
    table = whole(here("ray").address)
    assert len(table) == SERIES * HORIZON
    assert not table.duplicated(["unique_id", "step"]).any()
    assert not psutil.wait_procs(actors(), 60)[1]  # none is left behind


@pytest.mark.slow
def test_actors_that_do_not_fit_are_refused_with_numbers(
    cluster: Any, here: Callable[[str], RunSpec]
) -> None:
    with pytest.raises(ScoringError) as caught:
        next(on_ray.cluster(here("ray"), range(SHARDS), 5))
    assert caught.value.code == "CLUSTER"
    assert "5 actors of 1 CPU each do not fit: the cluster has 2 CPUs on 2 nodes" in str(
        caught.value
    )


@pytest.mark.slow
def test_a_node_that_does_not_see_the_panel_says_so(
    cluster: Any, here: Callable[[str], RunSpec]
) -> None:
    with pytest.raises(ScoringError) as caught:
        list(on_ray.cluster(replace(here("ray"), panel="/nowhere/panel"), range(4), 1))
    assert caught.value.code == "CLUSTER"
    assert "does not see /nowhere/panel" in str(caught.value)


@pytest.mark.slow
def test_without_progress_a_run_is_given_up_and_nothing_is_published(
    cluster: Any,
    daily_feed: Feed,
    promote: Callable[[Feed], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promote(daily_feed)
    settings = Score(engine="ray", workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(on_ray, "PATIENCE", 0.05)  # an actor takes seconds to begin
        with pytest.raises(ScoringError) as caught:
            score(daily_feed, rules=settings)
    assert caught.value.code == "CLUSTER"
    assert "no shard was done for 0.05 seconds" in str(caught.value)
    assert store.runs("sales") == []
    assert score(daily_feed, rules=settings).fresh
    assert len(read_forecasts("sales")) == 4 * 7


@pytest.mark.slow
def test_a_lost_node_leaves_its_work_to_the_other(
    cluster: Any, here: Callable[[str], RunSpec]
) -> None:
    alone = bytes_of(list(local.compute(here("local"), range(SHARDS))))
    at_work = on_ray.cluster(here("ray"), range(SHARDS), 2)
    done = [next(at_work)]
    cluster.remove_node(cluster.list_all_nodes()[1], allow_graceful=False)
    done += at_work
    assert bytes_of(done) == alone
    assert len(whole(here("ray").address)) == SERIES * HORIZON


def test_without_ray_the_engine_says_how_to_get_it(
    here: Callable[[str], RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ScoringError) as caught:
        next(engine(Score(engine="ray"), 10)(here("ray"), range(SHARDS)))
    assert caught.value.code == "ENGINE"
    assert "gatecast[ray]" in str(caught.value)


def test_a_part_that_only_another_machine_sees_is_not_published(
    here: Callable[[str], RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "VISIBLE", 0.0)
    spec = here("local")
    (file,) = local.compute(spec, [0])
    on_ray._see(spec, file)
    with pytest.raises(ScoringError) as caught:
        on_ray._see(here("elsewhere"), file)
    assert caught.value.code == "CLUSTER"


@pytest.mark.parametrize(
    ("cores", "needs", "workers", "shards", "count"),
    [
        ([4, 4], {"CPU": 1, "GPU": 0}, None, 100, 8),
        ([4, 4], {"CPU": 1, "GPU": 0}, 3, 100, 3),
        ([4, 4], {"CPU": 3, "GPU": 0}, None, 100, 2),  # the rest of a node is too small for another
        ([4, 4], {"CPU": 1, "GPU": 0}, None, 2, 2),
        ([4, 4], {"CPU": 1, "GPU": 1}, None, 100, 2),
        ([4, 4], {"CPU": 1, "GPU": 0}, 9, 100, None),
        ([4, 4], {"CPU": 5, "GPU": 0}, None, 100, None),
        ([4, 4], {"CPU": 1, "GPU": 2}, 1, 100, None),
        ([], {"CPU": 1, "GPU": 0}, None, 100, None),
    ],
)
def test_actors_fit_node_by_node(
    cores: list[int], needs: dict[str, int], workers: int | None, shards: int, count: int | None
) -> None:
    nodes = [{"Alive": True, "Resources": {"CPU": float(c), "GPU": 1.0}} for c in cores]
    nodes.append({"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}})
    if count is not None:
        assert on_ray._preflight(nodes, needs, workers, shards) == count
        return
    with pytest.raises(ScoringError) as caught:
        on_ray._preflight(nodes, needs, workers, shards)
    assert caught.value.code == "CLUSTER"
