"""The store of forecasts: whole runs or nothing, and what was published is what is read."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gatecast.errors import ScoringError
from gatecast.scoring import read_forecasts, store

HOSTILE = [
    "../../x",
    "a\0b",
    "line\nbreak",
    "🚲",
    "x" * 4096,
    "=cmd()",
    "__HIVE_DEFAULT_PARTITION__",
    "é",
    "é",
    " a",
    "NA",
]


def facts(key: str, source: str = "demo", at: str = "2025-01-01T00:00:00+00:00") -> dict[str, Any]:
    return {"run_key": key, "source": source, "scored_at": at}


def table(ids: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": pd.Series(ids, dtype="str"), "step": 1, "gatecast": 1.0})


def test_what_was_published_is_what_is_read() -> None:
    store.publish("demo", "k1", table(["a", "b"]), facts("k1"))
    pd.testing.assert_frame_equal(
        read_forecasts("demo"), table(["a", "b"]).astype({"step": "int64"})
    )


def test_hostile_series_ids_come_back_unchanged() -> None:
    store.publish("demo", "k1", table(HOSTILE), facts("k1"))
    assert list(read_forecasts("demo")["unique_id"]) == HOSTILE
    assert {p.name for p in Path("forecasts").rglob("*") if p.is_file()} == {
        "forecasts.parquet",
        "manifest.json",
    }


def test_the_newest_run_is_read_unless_one_is_named() -> None:
    store.publish("demo", "k1", table(["old"]), facts("k1", at="2025-01-01T00:00:00+00:00"))
    store.publish("demo", "k2", table(["new"]), facts("k2", at="2025-01-02T00:00:00+00:00"))
    assert list(read_forecasts("demo")["unique_id"]) == ["new"]
    assert list(read_forecasts("demo", "k1")["unique_id"]) == ["old"]


def test_several_sources_must_be_named() -> None:
    store.publish("demo", "k1", table(["a"]), facts("k1"))
    store.publish("other", "k2", table(["a"]), facts("k2", "other"))
    with pytest.raises(ScoringError) as caught:
        read_forecasts()
    assert caught.value.code == "SOURCE"


def test_a_run_is_never_overwritten() -> None:
    store.publish("demo", "k1", table(["a"]), facts("k1"))
    store.publish("demo", "k1", table(["b"]), facts("k1"))
    assert list(read_forecasts("demo")["unique_id"]) == ["a"]


def test_a_changed_file_is_refused() -> None:
    folder = store.publish("demo", "k1", table(["a"]), facts("k1"))
    table(["b"]).to_parquet(folder / "forecasts.parquet")
    with pytest.raises(ScoringError) as caught:
        read_forecasts("demo")
    assert caught.value.code == "CORRUPT"


def test_a_writer_killed_before_the_rename_leaves_nothing_visible(project: Path) -> None:
    script = textwrap.dedent("""
        import os, signal
        import pandas as pd
        from gatecast import atomic
        from gatecast.scoring import store
        real = atomic.write_json
        def killed(path, content):
            real(path, content)
            os.kill(os.getpid(), signal.SIGKILL)
        atomic.write_json = killed
        facts = {"run_key": "k1", "source": "demo", "scored_at": ""}
        store.publish("demo", "k1", pd.DataFrame({"unique_id": ["a"]}), facts)
    """)
    done = subprocess.run([sys.executable, "-c", script], cwd=project, check=False)
    assert done.returncode == -9
    assert store.runs() == []
    store.publish("demo", "k1", table(["a"]), facts("k1"))
    assert list(read_forecasts("demo")["unique_id"]) == ["a"]


def test_the_latest_cutoff_is_read_even_if_an_older_day_was_played_since() -> None:
    store.publish("demo", "k1", table(["today"]), facts("k1") | {"cutoff": "2025-04-10"})
    played = facts("k2", at="2025-01-02T00:00:00+00:00") | {"cutoff": "2025-04-08"}
    store.publish("demo", "k2", table(["played"]), played)
    assert list(read_forecasts("demo")["unique_id"]) == ["today"]


def test_a_folder_that_cannot_be_written_is_said_so(project: Path) -> None:
    (project / "forecasts").write_text("a file in the way")
    with pytest.raises(ScoringError) as caught:
        store.publish("demo", "k1", table(["a"]), facts("k1"))
    assert caught.value.code == "WRITE"
