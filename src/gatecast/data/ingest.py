"""Raw feed to observations: read, check, write whole or not at all.

data/observations/observations.parquet   unique_id, ds, y + past and future covariates
data/observations/static.parquet         unique_id + static columns
data/observations/quarantine.parquet     rows set aside, with code and reason
data/observations/ingest_report.json     counts
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from gatecast.core import atomic
from gatecast.core.errors import IngestError
from gatecast.data import contract, sources
from gatecast.data.config import Feed


def check_feed(feed: Feed, as_of: str | None = None) -> contract.Checked:
    """Read and check a feed without writing anything.

    Raises:
        IngestError: as :func:`gatecast.data.contract.check`.
    """
    return contract.check(sources.read(feed, as_of), feed, as_of)


def write(checked: contract.Checked, folder: Path) -> None:
    """Write the observations, replacing the folder atomically."""
    with atomic.folder(folder) as out:
        checked.observations.to_parquet(out / "observations.parquet", index=False)
        checked.static.to_parquet(out / "static.parquet", index=False)
        checked.quarantine.to_parquet(out / "quarantine.parquet", index=False)
        atomic.write_json(out / "ingest_report.json", checked.report)


def load(folder: Path, source: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Observations and static columns from the folder that :func:`write` made.

    Raises:
        IngestError: OBSERVATIONS if there are none, or they are another source's.
    """
    report = folder / "ingest_report.json"
    known = json.loads(report.read_text(encoding="utf-8"))["source"] if report.is_file() else None
    if known != source:
        what = f"{folder} holds no observations"
        if known:
            what = f"the observations in {folder} are of source '{known}', not of '{source}'"
        raise IngestError(
            "OBSERVATIONS",
            f"{what}.",
            "Run `dvc repro window`, or `gatecast ingest` first.",
        )
    observations = pd.read_parquet(folder / "observations.parquet")
    return observations, pd.read_parquet(folder / "static.parquet")


def summary(report: dict[str, Any]) -> str:
    """One paragraph for the terminal."""
    lines = [
        f"{report['source']}: {report['rows_in']:,} rows in = {report['accepted']:,} accepted"
        f" + {report['repaired']:,} repaired + {report['quarantined']:,} quarantined",
        f"  {report['series']:,} series, {report['values']:,} values from {report['first']} to {report['last']},"
        f" every {report['frequency']}",
        f"  {report['missing_rows']:,} rows are missing inside the series and {report['missing_values']:,} values are"
        f" empty: masked, not filled",
    ]
    if report["rows_known_ahead"]:
        lines.append(f"  {report['rows_known_ahead']:,} rows of covariates are known ahead")
    lines += [f"  repaired {n:,} x {code}" for code, n in report["repairs"].items()]
    lines += [
        f"  quarantined {n:,} x {code}: rows and reasons go to quarantine.parquet"
        for code, n in report["quarantine"].items()
    ]
    return "\n".join(lines)
