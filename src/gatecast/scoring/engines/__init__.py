"""Engines: by what the shards of a job are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from gatecast.config import Score
from gatecast.scoring.job import Job, Part


class Engine(Protocol):
    """Computes shards in any order, each at least once, and gives each part when it is whole."""

    def __call__(self, job: Job, numbers: Sequence[int]) -> Iterator[Part]: ...


def engine(rules: Score, series: int) -> Engine:
    """The engine that the settings name.

    Args:
        rules: the settings.
        series: how many there are: a few are not worth processes of their own.
    """
    from gatecast.scoring.engines import local, ray

    if rules.engine == "ray":
        return ray.engine(rules.workers)
    return local.engine(rules.workers, series)
