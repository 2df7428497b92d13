"""The synthetic panel of the benchmarks is one that the belt could have made, and a result says where it is from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common, memory
from gatecast.data.panel import Panel
from gatecast.data.windows import rolling_origins


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks") / "panel"
    common.write_panel(path, 30)
    return path


def test_a_written_panel_is_a_panel(folder: Path) -> None:
    panel = Panel.load(folder)
    assert panel.n_series == len(panel.ids) == len(set(panel.ids)) == 30
    assert panel.lengths.tolist() == panel.history.tolist() == [common.POINTS] * 30
    assert np.array_equal(panel.observed, ~np.isnan(panel.values[:, 0]))
    assert panel.observed[panel.indptr[:-1]].all()
    assert panel.observed[panel.indptr[1:] - 1].all()
    assert 0.9 < panel.observed.mean() < 1
    assert len(rolling_origins(panel, "validation")) == len(rolling_origins(panel, "test")) == 30


def test_chunks_leave_no_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "_CHUNK", 7)
    common.write_panel(tmp_path / "panel", 30)
    panel = Panel.load(tmp_path / "panel")
    known = panel.values[panel.observed, 0]
    assert len(known) > 0.9 * len(panel.values)
    assert (known >= 0).all()
    assert len(np.unique(panel.values.reshape(30, -1)[:, 0])) == 30


def test_the_memory_benchmark_measures_a_training(folder: Path) -> None:
    found = memory.measure(folder, 2)
    assert found["series"] == 30
    assert found["growth_mib"] > 0
    assert found["first_step_s"] > 0


def test_a_result_says_where_and_when(tmp_path: Path) -> None:
    common.write_result(tmp_path / "out.json", {"slope": 1.0})
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["slope"] == 1.0
    assert {"date", "cpu", "cores", "python", "torch", "lightning", "gatecast"} <= set(written)
