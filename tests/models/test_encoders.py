"""Recurrent encoders: one state a step, none of which knows a later step."""

from __future__ import annotations

import pytest
import torch

from gatecast.config import CELLS
from gatecast.models import encoders


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_a_state_depends_on_its_own_and_earlier_steps_only(cell: str, layers: int) -> None:
    torch.manual_seed(0)
    net = encoders.RecurrentEncoder(cell, 3, 8, layers, dropout=0.3).eval()
    x = torch.randn(2, 6, 3)
    changed = x.clone()
    changed[:, 3] += 1
    moved = (net(x) - net(changed)).abs().amax((0, 2))
    assert net(x).shape == (2, 6, 8)
    assert (moved[:3] == 0).all()
    assert (moved[3:] > 0).all()


def test_every_cell_that_a_recipe_may_name_is_there() -> None:
    assert set(encoders.CELLS) == set(CELLS)


def test_cells_are_what_they_are_called() -> None:
    kinds = {c: encoders.RecurrentEncoder(c, 2, 4, 1, 0.0).recurrent for c in CELLS}
    assert {c: type(kind).__name__.lower() for c, kind in kinds.items()} == {c: c for c in CELLS}


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    net = encoders.RecurrentEncoder("gru", 3, 8, 1, dropout=0.5)
    x = torch.randn(2, 4, 3)
    assert not torch.equal(net.train()(x), net(x))
    assert torch.equal(net.eval()(x), net(x))


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_may_reach_the_recurrent_layer_as_it_is(cell: str) -> None:
    net = encoders.RecurrentEncoder(cell, 3, 8, 1, 0.0, project=False)
    assert isinstance(net.project, torch.nn.Identity)
    assert net(torch.randn(2, 6, 3)).shape == (2, 6, 8)
