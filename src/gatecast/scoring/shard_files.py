"""Shard files: the forecasts of a shard as one Parquet file, and the receipt beside it that says it is complete."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gatecast.core.errors import ScoringError
from gatecast.core.forecast import EventForecast, Forecast, QuantileForecast
from gatecast.data.panel import Panel
from gatecast.evaluation.table import plain, repeated, to_arrow
from gatecast.scoring.run_spec import ShardFile
from gatecast.scoring.storage import Folder, Storage

MANIFEST = "manifest.json"  # beside the shard files of a run that is published as files
_DAY = 86_400.0  # seconds after which no process will continue a run
_MONTH = 30 * _DAY  # within which a run's folder has been looked at once it was published
_NAME = re.compile(r"part-(\d+)\.\d+\.parquet")
# How the names of shard files, receipts and unfinished files begin.
_OURS = ("part-", ".part-", ".manifest.json-")


def encode(
    source: Panel, forecast: Forecast, reason: np.ndarray, provenance: dict[str, Any]
) -> pa.Table:
    """The forecast table with why a series was not forecast by the model, and where the forecasts come from.

    Args:
        source: the panel.
        forecast: of n windows.
        reason: (n,) why something stands in for the model, '' if nothing does.
        provenance: value of each further column.
    """
    table, horizon = to_arrow(source, forecast), forecast.shape[1]
    reasons, code = np.unique(reason.astype(str), return_inverse=True)
    columns = {"fallback": repeated(pa.array(reasons, pa.large_string()), code, horizon)}
    columns |= {name: _constant(value, table.num_rows) for name, value in provenance.items()}
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def _constant(value: Any, rows: int) -> pa.Array:
    if isinstance(value, str):
        return repeated(pa.array([value], pa.large_string()), np.zeros(1), rows)
    return pa.repeat(value, rows)


def decode(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The table of a shard file (or some columns of it), its dictionaries resolved."""
    return plain(pq.read_table(pa.BufferReader(data), columns=columns))


def frame(tables: Sequence[pa.Table]) -> pd.DataFrame:
    """Tables as one frame."""
    return pa.concat_tables(tables).to_pandas()


def name_of(shard: int, token: int) -> str:
    """Name of a shard file."""
    return f"part-{shard:05d}.{token}.parquet"


def write(where: Storage, table: pa.Table, name: str) -> dict[str, Any]:
    """Write a shard file.

    Returns:
        Its ``name``, ``rows``, ``bytes`` and ``sha256``.

    Raises:
        ScoringError: WRITE.
    """
    out = pa.BufferOutputStream()
    values = {*QuantileForecast.columns, *EventForecast.columns}
    labels = [name for name in table.column_names if name not in values]
    split = {name: "BYTE_STREAM_SPLIT" for name in table.column_names if name not in labels}
    pq.write_table(
        table,
        out,
        compression="snappy",
        use_dictionary=labels,
        column_encoding=split,
        write_statistics=labels,
    )
    data = memoryview(out.getvalue())
    try:
        where.write(name, data)
    except OSError as error:
        raise cannot_write(where.address, error) from None
    digest = hashlib.sha256(data).hexdigest()
    return {"name": name, "rows": table.num_rows, "bytes": len(data), "sha256": digest}


def receipt(where: Storage, file: ShardFile) -> None:
    """Write the receipt: the shard file is complete."""
    try:
        where.write(_receipt(file.name), json.dumps(asdict(file)).encode())
    except OSError as error:
        raise cannot_write(where.address, error) from None


def whole(where: Storage, shard: int, shards: int) -> ShardFile | None:
    """The complete file of one of so many shards that an earlier process has left, or None."""
    for name in where.names(f"part-{shard:05d}.*.json"):
        try:
            file = ShardFile(**json.loads(where.read(name) or b""))
        except (ValueError, TypeError):  # a receipt that is cut short says nothing
            continue
        data = where.read(file.name) if file.shards == shards else None
        if data is not None and hashlib.sha256(data).hexdigest() == file.sha256:
            return file
    return None


def sweep(where: Storage, named: Sequence[str]) -> None:
    """Remove receipts, and shard files that were not published."""
    for name in where.names("part-*"):
        if name not in named:
            where.remove(name)


def discard(
    where: Storage, published: Collection[str], find: Callable[[str], dict[str, Any] | None]
) -> None:
    """Remove shard files, receipts and unfinished files, a day old, that other runs of the source left on this machine.

    Of a published run what its manifest does not name goes; of another all, unless other files lie beside it. Object
    stores are left alone. Whatever cannot be removed stays, without an error. Folders of published runs that have not
    changed for 30 days are not looked into: earlier runs have done that.

    Args:
        where: of the run that is about to begin; other runs have the folders beside it.
        published: keys of the published runs of the source.
        find: manifest of a published run by its key, or None; asked of the few folders that are not as they should be.
    """
    if not isinstance(where, Folder):
        return
    for folder in where.path.parent.glob("*"):
        # a damaged manifest of another run is no reason not to begin this one
        with suppress(OSError, ScoringError):
            old = time.time() - folder.stat().st_mtime > _MONTH
            if folder == where.path or (old and folder.name in published):
                continue
            names = [path.name for path in folder.iterdir()]
            ours = [name for name in names if name.startswith(_OURS)]
            if not ours or _swept(names):
                continue
            manifest = find(folder.name)
            if manifest is None and len(ours) < len(names):
                continue
            named = {file["name"] for file in manifest.get("parts", ())} if manifest else set()
            left = [folder / name for name in ours if name not in named]
            if left and time.time() - max(p.stat().st_mtime for p in left) > _DAY:
                for path in left:
                    path.unlink()
                folder.rmdir()  # if nothing is left


def _swept(names: Sequence[str]) -> bool:
    """Whether a folder holds a manifest, one file per shard, and nothing else."""
    found = [_NAME.fullmatch(name) for name in names if name != MANIFEST]
    shards = {match[1] for match in found if match}
    return len(shards) == len(found) == len(names) - 1


def _receipt(name: str) -> str:
    return name.removesuffix(".parquet") + ".json"


def cannot_write(address: str, error: OSError) -> ScoringError:
    """What to say when a shard file or a manifest cannot be written."""
    return ScoringError(
        "WRITE",
        f"the forecasts cannot be written to {address}: {error}. Nothing was published.",
        "Free the disk, or give this user the right to write there; then score again.",
    )
