"""Forecasts as Parquet files: a folder a run, in a folder of this machine or in any fsspec store.

    forecasts/<source>/<run key>/part-00003.17.parquet   shard 3, written under lease token 17
    forecasts/<source>/<run key>/manifest.json           what the run is, its parts, their rows and sha256

A run is visible once its manifest is there; the manifest is created once, by one writer, and names the parts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from gatecast.errors import ScoringError
from gatecast.scoring import parts
from gatecast.scoring.places import place

MANIFEST = "manifest.json"
_BEFORE = "forecasts.parquet"  # the one file of a run whose manifest names no parts: published before there were any


class ParquetSink:
    """See the module's docstring.

    Args:
        address: folder or fsspec address.
    """

    def __init__(self, address: str) -> None:
        self.place = place(address)

    def parts(self, source: str, key: str) -> str:
        return f"{self.place.address}/{source}/{key}"

    where = parts

    def publish(self, source: str, key: str, manifest: dict[str, Any]) -> None:
        text = json.dumps(manifest, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        try:
            self.place.create(f"{source}/{key}/{MANIFEST}", text.encode())
        except OSError as error:
            raise parts.cannot_write(self.parts(source, key), error) from None

    def find(self, source: str, key: str) -> dict[str, Any] | None:
        data = self.place.read(f"{source}/{key}/{MANIFEST}")
        return dict(json.loads(data)) if data else None

    def manifests(self, source: str | None = None) -> list[dict[str, Any]]:
        found = (
            self.place.read(name) for name in self.place.names(f"{source or '*'}/*/{MANIFEST}")
        )
        every = [dict(json.loads(data)) for data in found if data]
        return sorted(every, key=lambda m: (m["scored_at"], m["run_key"]))

    def read(self, manifest: dict[str, Any]) -> pd.DataFrame:
        return parts.frame([*self._tables(manifest)])

    def pieces(self, manifest: dict[str, Any], columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        return (parts.frame([table]) for table in self._tables(manifest, columns))

    def _tables(
        self, manifest: dict[str, Any], columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        source, key = manifest["source"], manifest["run_key"]
        named = manifest.get("parts") or [{"name": _BEFORE, "sha256": manifest["sha256"]}]
        for part in named:
            data = self.place.read(f"{source}/{key}/{part['name']}")
            if data is None or hashlib.sha256(data).hexdigest() != part["sha256"]:
                raise ScoringError(
                    "CORRUPT",
                    f"{self.where(source, key)}/{part['name']} is not what was published: its sha256 differs.",
                    "Delete the run's folder and score again.",
                )
            yield parts.decode(data, columns)
