"""What an engine can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from gatecast.scoring.job import Job, Part


class Engine(Protocol):
    """Computes shards in any order, each at least once, and gives each part when it is whole."""

    def __call__(self, job: Job, numbers: Sequence[int]) -> Iterator[Part]: ...
