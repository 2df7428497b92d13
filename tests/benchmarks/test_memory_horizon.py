"""The adding problem is the published one, and a result holds what the page of results shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import memory_horizon, results


def test_the_answer_is_the_sum_of_one_marked_number_of_each_half() -> None:
    x, y = memory_horizon.adding(500, 20, torch.Generator().manual_seed(0))
    numbers, marks = x.unbind(-1)
    assert (marks[:, :10].sum(1) == 1).all()
    assert (marks[:, 10:].sum(1) == 1).all()
    assert torch.allclose(y, (numbers * marks).sum(1))
    assert marks.any(0).all()  # every step is marked sometimes


def test_who_answers_the_mean_errs_by_the_variance() -> None:
    _, y = memory_horizon.adding(20_000, 4, torch.Generator().manual_seed(0))
    assert y.mean().item() == pytest.approx(1, abs=0.01)
    assert y.var().item() == pytest.approx(memory_horizon.BASELINE, abs=0.005)


def test_a_result_has_errors_curves_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = {"length": 4, "steps": 6, "units": 4, "look_every": 2}
    monkeypatch.setattr(memory_horizon, "SETTINGS", memory_horizon.SETTINGS | tiny)
    monkeypatch.setattr(memory_horizon, "QUICK", tiny)
    out = tmp_path / "memory_horizon.json"
    monkeypatch.setattr("sys.argv", ["memory_horizon", "--quick", "--out", str(out)])
    memory_horizon.main()
    result = json.loads(out.read_text(encoding="utf-8"))
    assert set(result["mse"]) == {"rnn", "lstm", "gru"}
    assert [step for step, _ in result["runs"]["lstm"][0]["curve"]] == [2, 4, 6]
    assert out.with_suffix(".png").stat().st_size > 1000
    _, _, rows = results.SECTIONS["memory_horizon"]
    assert len(list(rows(result))) == 4
