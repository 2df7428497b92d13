"""A folder of one's own for every test of the data floor, and short ways to write, ingest and refuse a feed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gatecast.core.errors import IngestError
from gatecast.data import contract, ingest
from gatecast.data.config import Covariates, Feed, FileFeed, RawFile, Splits, Task

OBSERVATIONS = Path("data/observations")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder: the current directory of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATECAST_DATA_DIR", raising=False)
    return tmp_path


@pytest.fixture
def make_feed() -> Callable[..., Feed]:
    """``make_feed(content, file=…, cov={…}, **keys of the recipe)`` writes a raw file and returns its recipe."""

    def make(
        content: str | bytes | pd.DataFrame | None = None,
        file: str = "feed.csv",
        cov: Mapping[str, list[str]] | None = None,
        **keys: Any,
    ) -> Feed:
        if isinstance(content, str):
            content = content.encode()
        if isinstance(content, bytes):
            Path(file).write_bytes(content)
        elif content is not None:
            content.to_parquet(file)
        recipe: dict[str, Any] = {
            "name": "shop",
            "files": [RawFile(path=file)],
            "id": "id",
            "time": ["ds"],
            "frequency": "h",
            "covariates": Covariates(**(cov or {})),
            "task": Task(horizon=2, season_length=1, splits=Splits(validation=2, test=2)),
        }
        return FileFeed(**(recipe | keys))

    return make


@pytest.fixture
def long_csv() -> Callable[..., str]:
    """``long_csv({"a": [1, None, 3]})`` is a long table with a row an hour; None is an empty value."""

    def table(
        series: Mapping[str, Sequence[float | None]], start: str = "2024-01-01", freq: str = "h"
    ) -> str:
        out = ["id,ds,y"]
        for name, values in series.items():
            stamps = pd.date_range(start, periods=len(values), freq=freq)
            pairs = zip(stamps, values, strict=True)
            out += [f"{name},{t},{'' if v is None else v}" for t, v in pairs]
        return "\n".join(out) + "\n"

    return table


@pytest.fixture
def ingested() -> Callable[..., contract.Checked]:
    """``ingested(feed, as_of=None)``: read, check and write to data/observations."""

    def run(feed: Feed, as_of: str | None = None) -> contract.Checked:
        checked = ingest.check_feed(feed, as_of)
        ingest.write(checked, OBSERVATIONS)
        return checked

    return run


@pytest.fixture
def refusal(ingested: Callable[..., contract.Checked]) -> Callable[..., str]:
    """``refusal(feed, code)``: the message with which ingest stops, having written nothing."""

    def run(feed: Feed, code: str, as_of: str | None = None) -> str:
        with pytest.raises(IngestError) as caught:
            ingested(feed, as_of)
        assert caught.value.code == code
        assert not OBSERVATIONS.exists()
        assert not list(Path().glob("data/.*"))
        return str(caught.value)

    return run
