"""Shards computed on a Ray cluster: one actor per worker, which forecasts shard after shard by ``score_shard``.

The cluster is the one that ``RAY_ADDRESS`` names or that runs on this machine; without one, Ray starts on this machine.
Every node must have gatecast installed and see the snapshot and the package under the same paths; shard files may go to
any fsspec address. An actor that dies is started again, on another node if its own is gone, and computes its shard
again.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatecast.core.errors import ScoringError
from gatecast.scoring.run_spec import RunSpec, ShardFile
from gatecast.scoring.storage import open_storage

if TYPE_CHECKING:
    from gatecast.scoring.engines.base import Engine

PATIENCE = 600.0  # seconds without a completed shard after which a run is given up
# Seconds within which a shard file must be visible from here: network file systems keep what they have listed.
VISIBLE = 60.0


def engine(workers: int | None) -> Engine:
    """On a cluster.

    Args:
        workers: actors; None: as many as fit.
    """
    return partial(cluster, workers=workers)


def cluster(
    spec: RunSpec, numbers: Sequence[int], workers: int | None = None
) -> Iterator[ShardFile]:
    """Forecast shards with actors; the run is given up if none is done for ``PATIENCE`` seconds.

    Raises:
        ScoringError: ENGINE without Ray; CLUSTER if the actors do not fit, the nodes do not see the snapshot or the
            package, or nothing is done any more.
    """
    with _connected() as ray:
        gpus = int(spec.device == "cuda")
        needs = {"CPU": spec.threads, "GPU": gpus}
        count = _preflight(ray.nodes(), needs, workers, len(numbers))
        start = ray.remote(
            num_cpus=spec.threads,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=-1,
            scheduling_strategy="SPREAD",
        )(Scorer)
        idle, waiting = [start.remote(spec.threads) for _ in range(count)], deque(numbers)
        busy: dict[Any, Any] = {}
        try:
            while waiting or busy:
                while idle and waiting:
                    actor = idle.pop()
                    busy[actor.score.remote(spec, waiting.popleft())] = actor
                while idle:  # nothing is left for them: make room for one that must begin again
                    ray.kill(idle.pop())
                done, _ = ray.wait(list(busy), num_returns=1, timeout=PATIENCE)
                if not done:
                    raise _stuck(ray, len(busy), len(busy) + len(waiting))
                idle.append(busy.pop(done[0]))
                file = _result(ray, done[0])
                _see(spec, file)
                yield file
        finally:
            for actor in (*idle, *busy.values()):
                ray.kill(actor)


class Scorer:
    """An actor: a process of the cluster with its threads, its memory-mapped panel and its loaded package."""

    def __init__(self, threads: int) -> None:
        import torch

        from gatecast.core.process import tune_allocator

        tune_allocator()
        torch.set_num_threads(threads)

    def score(self, spec: RunSpec, number: int) -> ShardFile:
        """Forecast a shard.

        Raises:
            ScoringError: CLUSTER if this node does not see the snapshot or the package; as ``score_shard``.
        """
        from gatecast.scoring.shards import score_shard

        for folder in (spec.panel, spec.package):
            if not Path(folder).is_dir():
                raise ScoringError(
                    "CLUSTER",
                    f"node {socket.gethostname()} does not see {folder}.",
                    "Put the project folder on a file system that all nodes share, under the same path.",
                )
        return score_shard(spec, number)


@contextmanager
def _connected() -> Iterator[Any]:
    """Ray, connected to a cluster while the block runs."""
    try:
        import ray
    except ImportError:
        raise ScoringError(
            "ENGINE",
            "`engine: ray` needs Ray, which is not installed.",
            "pip install 'gatecast[ray]', or set `score.engine` to local in params.yaml.",
        ) from None
    mine = not ray.is_initialized()
    if mine:
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ScoringError(
                "CLUSTER",
                f"the Ray cluster does not answer: {error}",
                "Correct RAY_ADDRESS, or start the cluster: docs/scale-out.md.",
            ) from None
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()


def _preflight(
    nodes: list[dict[str, Any]], needs: dict[str, int], workers: int | None, shards: int
) -> int:
    """How many actors are started: those asked for, or as many as fit, and no more than there are shards.

    Args:
        nodes: as ``ray.nodes()`` lists them.
        needs: of one actor, by resource.
        workers: actors that are asked for.
        shards: how many there are.

    Raises:
        ScoringError: CLUSTER if they do not fit.
    """
    asked = {name: count for name, count in needs.items() if count}
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    fit = sum(min(int(has.get(n, 0) // count) for n, count in asked.items()) for has in alive)
    count = min(workers or fit, shards)
    if not 0 < count <= fit:
        each = " and ".join(f"{count} {name}" for name, count in asked.items())
        has = " and ".join(f"{sum(h.get(n, 0) for h in alive):g} {n}s" for n in asked)
        raise ScoringError(
            "CLUSTER",
            f"{workers or 1} actors of {each} each do not fit: the cluster has {has} on {len(alive)} nodes,"
            f" room for {fit}.",
            f"Set `score.workers` to {fit} at most, or add nodes." if fit else "Add nodes.",
        )
    return count


def _result(ray: Any, reference: Any) -> ShardFile:
    """The shard file behind a reference; an error of the actor is raised here as it was there."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ScoringError(
            "CLUSTER",
            f"the Ray cluster has failed: {str(error).splitlines()[0]}",
            "Look at its nodes (ray status), then score again: complete shard files are kept.",
        ) from None


def _stuck(ray: Any, busy: int, left: int) -> ScoringError:
    free, every = (
        found.get("CPU", 0) for found in (ray.available_resources(), ray.cluster_resources())
    )
    return ScoringError(
        "CLUSTER",
        f"no shard was done for {PATIENCE:g} seconds: {busy} actors at work or waiting for a CPU, {left} shards left;"
        f" {free:g} of {every:g} CPUs of the cluster are free. Nothing was published.",
        "Look at its nodes and at what else runs there (ray status), then score again: complete shard files are kept.",
    )


def _see(spec: RunSpec, file: ShardFile) -> None:
    """Make sure that a shard file, which another machine may have written, is visible at its address.

    Raises:
        ScoringError: CLUSTER if it does not.
    """
    where, end = open_storage(spec.address), time.monotonic() + VISIBLE
    while not where.names(file.name):
        if time.monotonic() > end:
            raise ScoringError(
                "CLUSTER",
                f"{file.name} was written by a node of the cluster, and is not in {spec.address} here.",
                "Let all nodes share that folder, or choose an fsspec address in conf/sink/.",
            )
        time.sleep(0.5)
