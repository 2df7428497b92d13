"""Forecasts as Parquet files: one folder per run, in a folder of this machine or in any fsspec store.

    forecasts/<source>/<run key>/part-00003.17.parquet   shard 3, written under lease token 17
    forecasts/<source>/<run key>/manifest.json           what the run is, its shard files, their rows and sha256
    forecasts/<source>/index.json                        facts of the published runs, by run key

A run is visible once its manifest is there; the manifest is created once, by one writer, and names the shard files. The
index is a cache that saves reading thousands of manifests to list them: the manifest of a run that it does
not name is read, and what it says of a run whose folder is gone is not believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd
import pyarrow as pa

from gatecast.core.errors import ScoringError
from gatecast.scoring import shard_files
from gatecast.scoring.shard_files import MANIFEST
from gatecast.scoring.sinks.base import facts
from gatecast.scoring.storage import open_storage

INDEX = "index.json"
_NAMED = {"source", "run_key", "scored_at"}  # what the facts of every run hold
_BEFORE = "forecasts.parquet"  # of a run published before there were shards


class ParquetSink:
    """See the module's docstring.

    Args:
        address: folder or fsspec address.
    """

    def __init__(self, address: str) -> None:
        self.storage = open_storage(address)

    def shard_address(self, source: str, key: str) -> str:
        return f"{self.storage.address}/{source}/{key}"

    where = shard_address

    def publish(self, source: str, key: str, manifest: dict[str, Any]) -> None:
        text = json.dumps(manifest, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        try:
            self.storage.create(f"{source}/{key}/{MANIFEST}", text.encode())
        except OSError as error:
            raise shard_files.cannot_write(self.shard_address(source, key), error) from None
        with suppress(OSError, ScoringError):  # the run is published, listed or not
            self._list(source, self._published(source, anew=key))

    def forget(self, source: str, key: str) -> None:
        listed = self._listed(source)
        if listed.pop(key, None):
            with suppress(OSError, ScoringError):
                self._list(source, listed)

    def find(self, source: str, key: str) -> dict[str, Any] | None:
        data = self.storage.read(f"{source}/{key}/{MANIFEST}")
        if data is None:
            return None
        with suppress(ValueError):
            if isinstance(manifest := json.loads(data), dict):
                return manifest
        raise self._corrupt(source, key, MANIFEST, "it is no JSON object")

    def manifests(self, source: str | None = None) -> list[dict[str, Any]]:
        sources = [source] if source else self.storage.folders()
        every = [found for name in sources for found in self._published(name).values()]
        return sorted(every, key=lambda m: (m["scored_at"], m["run_key"]))

    def read(self, manifest: dict[str, Any]) -> pd.DataFrame:
        return shard_files.frame([*self._tables(manifest)])

    def pieces(self, manifest: dict[str, Any], columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        return (shard_files.frame([table]) for table in self._tables(manifest, columns))

    def _tables(
        self, manifest: dict[str, Any], columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        source, key = manifest["source"], manifest["run_key"]
        whole = manifest if "parts" in manifest else self.find(source, key)
        if whole is None:
            raise self._corrupt(source, key, MANIFEST, "it is gone")
        for file in whole.get("parts") or [{"name": _BEFORE, "sha256": whole["sha256"]}]:
            data = self.storage.read(f"{source}/{key}/{file['name']}")
            if data is None or hashlib.sha256(data).hexdigest() != file["sha256"]:
                raise self._corrupt(source, key, file["name"], "its sha256 differs")
            yield shard_files.decode(data, columns)

    def _corrupt(self, source: str, key: str, name: str, why: str) -> ScoringError:
        what = f"{self.where(source, key)}/{name} is not what was published: {why}."
        return ScoringError("CORRUPT", what, "Delete the run's folder and score again.")

    def _published(self, source: str, anew: str | None = None) -> dict[str, dict[str, Any]]:
        """Facts of the runs of a source, by run key.

        Args:
            source: its name.
            anew: key of a run of which the index is not asked.
        """
        listed, found = self._listed(source), {}
        for key in self.storage.folders(source):
            known = listed.get(key) if key != anew else None
            if known is not None:
                found[key] = known
            elif manifest := self.find(source, key):
                found[key] = facts(manifest)
        return found

    def _listed(self, source: str) -> dict[str, dict[str, Any]]:
        """The index; empty if it is not there or not what was written."""
        try:
            content = json.loads(self.storage.read(f"{source}/{INDEX}") or b"{}")
        except (OSError, ValueError):
            return {}
        runs = content.items() if isinstance(content, dict) else ()
        return {key: run for key, run in runs if isinstance(run, dict) and run.keys() >= _NAMED}

    def _list(self, source: str, runs: dict[str, dict[str, Any]]) -> None:
        text = json.dumps(runs, allow_nan=False, ensure_ascii=False)
        self.storage.write(f"{source}/{INDEX}", text.encode())
