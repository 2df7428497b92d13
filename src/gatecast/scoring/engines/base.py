"""What an engine can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from gatecast.scoring.run_spec import RunSpec, ShardFile


class Engine(Protocol):
    """Computes shards in any order, each at least once, and yields each shard file when it is complete."""

    def __call__(self, spec: RunSpec, numbers: Sequence[int]) -> Iterator[ShardFile]: ...
