"""What a sink can do, and which members of a manifest make it long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import pandas as pd

DETAIL = ("parts", "quarantine")  # members of a manifest that grow with the series


class Sink(Protocol):
    """Where forecasts are published.

    A manifest is a JSON object with ``source``, ``run_key``, ``scored_at``, ``parts`` (each with ``name``, ``rows``,
    ``bytes`` and ``sha256``), ``quarantine`` and facts about the run. Its facts are all but ``DETAIL``: a few hundred
    bytes, so that thousands of runs can be listed.
    """

    def shard_address(self, source: str, key: str) -> str:
        """Folder or fsspec address where workers write the shard files of a run."""

    def publish(self, source: str, key: str, manifest: dict[str, Any]) -> None:
        """Make exactly the manifest's shard files visible in one atomic step; nothing happens if the run is published.

        Raises:
            ScoringError: WRITE.
        """

    def forget(self, source: str, key: str) -> None:
        """Make sure that no list names a run that :meth:`find` does not find, before it is scored again."""

    def find(self, source: str, key: str) -> dict[str, Any] | None:
        """Manifest of a published run, whole, or None."""

    def manifests(self, source: str | None = None) -> list[dict[str, Any]]:
        """Facts of published runs, oldest first; of one source if it is named."""

    def read(self, manifest: dict[str, Any]) -> pd.DataFrame:
        """The table of a published run.

        Args:
            manifest: whole, or its facts.

        Raises:
            ScoringError: CORRUPT if it is not what was published.
        """

    def pieces(self, manifest: dict[str, Any], columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Columns of the table of a published run, some whole series at a time.

        Args:
            manifest: whole, or its facts.
            columns: which.

        Raises:
            ScoringError: CORRUPT if it is not what was published.
        """

    def where(self, source: str, key: str) -> str:
        """Where a run lies, for people."""


def facts(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without what grows with the series."""
    return {name: value for name, value in manifest.items() if name not in DETAIL}
