"""What a training prints about its net."""

from __future__ import annotations

from typing import Any

import pytest

from gatecast.data.panel import Panel
from gatecast.feed.spec import input_spec
from gatecast.models.config import Recurrent
from gatecast.training.config import Fit
from gatecast.training.module import ForecasterModule
from gatecast.training.progress import Summary
from tests.recipes import model_of


def test_the_summary_has_each_layer_once_in_four_lines(
    demo_panel: Panel, smoke: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_of(cell="gru", hidden_size=8, n_steps=3, n_origins=2)
    assert isinstance(model, Recurrent)
    module = ForecasterModule(model, input_spec(demo_panel, model), smoke, seed=1)
    trainer: Any = None
    Summary().on_fit_start(trainer, module)
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    counts = {name: int(count.replace(",", "")) for name, count in lines}
    assert list(counts) == ["encoder", "decoder", "others", "net"]
    package = module.average.state_dict().values()
    assert counts.pop("net") == sum(counts.values()) == sum(t.numel() for t in package)
