"""Small specs and random batches for the tests of the models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.inputs import Batch, InputSpec
from tests.recipes import NORMALISATIONS, model_of


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., InputSpec]:
    """A spec with a channel of every kind; keywords change it."""

    def make(**changes: Any) -> InputSpec:
        base: dict[str, Any] = {
            "horizon": 6,
            "season_length": 4,
            "context_length": 8,
            "stride": 4,
            "n_steps": 5,
            "n_origins": 3,
            "n_past": 2,
            "n_known": 1,
            "n_static": 1,
            "past_cards": [3],
            "known_cards": [2],
            "static_cards": [4],
            "n_calendar": 2,
        }
        return InputSpec(**(base | changes))

    return make


@pytest.fixture(scope="session")
def make_batch() -> Callable[..., Batch]:
    """A random batch for a spec; ``missing`` is the share of unknown targets."""

    def make(spec: InputSpec, n: int = 3, seed: int = 0, missing: float = 0.0) -> Batch:
        g = torch.Generator().manual_seed(seed)
        rows = spec.lookback + spec.horizon

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=g)

        def codes(cards: list[int], *shape: int) -> torch.Tensor:
            parts = [torch.randint(0, c, shape, generator=g) for c in cards]
            return torch.stack(parts, -1) if parts else torch.zeros((*shape, 0), dtype=torch.int64)

        mask = (torch.rand(n, rows, generator=g) >= missing).float()
        return Batch(
            target=(20 + 5 * normal(n, rows)) * mask,
            mask=mask,
            past=normal(n, rows, spec.n_past),
            known=normal(n, rows, spec.n_known + spec.n_calendar),
            past_codes=codes(spec.past_cards, n, rows),
            known_codes=codes(spec.known_cards, n, rows),
            static=normal(n, spec.n_static),
            static_codes=codes(spec.static_cards, n),
        )

    return make


@pytest.fixture(
    scope="session",
    params=NORMALISATIONS.values(),
    ids=NORMALISATIONS,
)
def make_kind(request: pytest.FixtureRequest, make_spec: Callable[..., InputSpec]) -> Any:
    """As ``make_spec``, for every normalisation."""
    return lambda **changes: make_spec(**(request.param | changes))


@pytest.fixture(scope="session")
def make_net() -> Callable[..., RecurrentForecaster]:
    """A net in evaluation mode with reproducible weights."""

    def make(spec: InputSpec, seed: int = 0, **recipe: Any) -> RecurrentForecaster:
        torch.manual_seed(seed)
        return RecurrentForecaster(model_of(**({"hidden_size": 16} | recipe)), spec).eval()

    return make
