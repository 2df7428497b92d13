"""What a trained net remembers: how far each value that it reads moves its forecast.

    result = memory.sensitivity(predictor, panel, windows)
    result.lags       # by lag: through everything that the net reads
    result.steps      # by encoder step: through the recurrent state alone
    memory.within(result.lags)     # the lag within which nine tenths of it lie

    reports/memory/sensitivity.csv    variant, lag, sensitivity
    reports/memory/steps.csv          variant, step (0: the newest), share
    reports/memory/memory.json        by variant: within how many lags and steps nine tenths lie, or why it is left out

The sensitivity to lag l is the mean of |d f(k) / d y(t - l)|, with y(t - l) the value l rows before the first forecast
step (lag 1 is the newest one), f(k) the median of step k and both in units of the target: a ratio of like to like, so
that series of any level count alike. The mean is over steps of the horizon and over the windows in which that value is
known. The gradient goes through everything that depends on the value: the scale of its window, each of the
overlapping windows that encoder steps read, linear skips.

An encoder step that sees a week of values reaches back a week without any memory. What the recurrent state carries is
therefore measured by itself: the length of d f(k) / d x(T - j), where x(T - j) is all that the encoder reads at j steps
before its last (values, covariates, scale), taken as if steps shared nothing. In every window the T lengths are divided
by their sum, and these shares are averaged. A cell whose gradient vanishes has all of it in the newest steps (Pascanu,
Mikolov & Bengio 2013).

Axes as in :mod:`gatecast.models.inputs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from gatecast.core import atomic, terminal
from gatecast.core.errors import EvaluationError
from gatecast.core.forecast import MEDIAN
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, history
from gatecast.evaluation.predictor import NetPredictor
from gatecast.feed.panel_feed import PanelFeed
from gatecast.feed.sampling import batches
from gatecast.models.decoders.autoregressive import AutoregressiveDecoder
from gatecast.models.ensemble import EnsembleForecaster
from gatecast.models.forecaster import RecurrentForecaster
from gatecast.models.heads.negative_binomial import NegativeBinomialHead
from gatecast.models.inputs import Batch

# of the validation span, evenly spread
WINDOWS = 256
SHARE = 0.9
# steps of the horizon that are differentiated, evenly spread
_STEPS = 24
# forecasts in a batch: of a window, or of each path that is sampled of it
_BATCH = 256
# forecasts in all
_MOST = 2048


@dataclass(frozen=True)
class Sensitivity:
    """What a variant remembers; see the module's docstring.

    Attributes:
        name: of the variant.
        lags: (R,) float64 mean sensitivity to lag 1, 2, …
        steps: (T,) float64 shares of the encoder steps, the newest first; None without a recurrent layer. Of an
            ensemble: those of its first recurrent member that counts.
        rows: S, rows between two encoder steps.
        windows: how many were averaged.
    """

    name: str
    lags: np.ndarray
    steps: np.ndarray | None
    rows: int
    windows: int

    @property
    def horizons(self) -> dict[str, int]:
        """Within how many lags, and encoder steps, nine tenths lie."""
        lags = {"memory_lags": within(self.lags)}
        return lags | ({} if self.steps is None else {"memory_steps": within(self.steps)})


def within(sensitivity: np.ndarray, share: float = SHARE) -> int:
    """How many of the first entries together hold a share of the total."""
    held = sensitivity.cumsum()
    return int(np.searchsorted(held, share * held[-1]) + 1)


def sensitivity(predictor: NetPredictor, panel: Panel, windows: Windows) -> Sensitivity:
    """Differentiate the forecasts of some windows.

    Raises:
        EvaluationError: NO-GRADIENT for a net whose forecast has none: an event, a count, or nothing finite.
    """
    net = predictor.net
    spec = predictor.spec
    _check(predictor)
    recurrent = recurrent_net(net)
    paths = _paths(net)
    feed = PanelFeed(panel, spec, predictor.scaling, predictor.meta)
    windows = windows[:: -(-len(windows) * paths // _MOST)]
    lags = np.zeros(spec.lookback)
    known = np.zeros(spec.lookback)
    steps = np.zeros(recurrent.spec.n_steps if recurrent else 0)
    used = 0
    for batch in batches(feed, windows, None, max(1, _BATCH // paths)):
        of_lag, of_step = _gradients(net, recurrent, batch)  # (B, R), (B, T)
        seen = batch.mask[:, : spec.lookback].flip(1)
        whole = of_lag.isfinite().all(1) & of_step.isfinite().all(1)
        lags += of_lag[whole].sum(0).numpy()
        known += seen[whole].sum(0).numpy()
        total = of_step.sum(1, keepdim=True)
        steps += (of_step / total)[whole & (total[:, 0] > 0)].sum(0).numpy()
        used += int(whole.sum())
    if not lags.any():
        raise _none(predictor.name, "none of its forecasts moves with the values that it reads")
    shares = steps / steps.sum() if steps.any() else None
    rows = recurrent.spec.stride if recurrent else 1
    return Sensitivity(predictor.name, lags / known.clip(1), shares, rows, used)


def _gradients(
    net: nn.Module, recurrent: RecurrentForecaster | None, batch: Batch
) -> tuple[Tensor, Tensor]:
    """(B, R) mean |d median / d value| by lag, and (B, T) mean length of d median / d encoder input, newest first."""
    rows = batch.target.shape[1]
    read: list[Tensor] = [batch.target.requires_grad_()]
    hook = recurrent and recurrent.encoder.register_forward_pre_hook(lambda _, x: read.append(x[0]))
    median = net.quantiles(batch)[..., MEDIAN].double()  # type: ignore[operator]
    if hook:
        hook.remove()
    horizon = median.shape[1]
    chosen = torch.linspace(0, horizon - 1, min(horizon, _STEPS)).round().long().tolist()
    totals = [torch.zeros(v.shape[:2], dtype=torch.float64) for v in read]
    for k in chosen:
        gradients = torch.autograd.grad(
            median[:, k].sum(), read, retain_graph=k != chosen[-1], materialize_grads=True
        )
        for total, one in zip(totals, gradients, strict=True):
            total += one.double().abs() if one.ndim == 2 else one.double().norm(dim=-1)
    by_lag = totals[0][:, : rows - horizon].flip(1) / len(chosen)
    return by_lag, totals[1].flip(1) / len(chosen) if recurrent else by_lag[:, :0]


def _check(predictor: NetPredictor) -> None:
    if predictor.spec.event:
        raise _none(predictor.name, "it forecasts the probability of an event")
    for module in predictor.net.modules():
        if isinstance(module, NegativeBinomialHead):
            raise _none(predictor.name, "whole counts move by jumps, not with small changes")


def _none(name: str, why: str) -> EvaluationError:
    return EvaluationError(
        "NO-GRADIENT",
        f"the sensitivity of {name} cannot be measured: {why}.",
        "Compare variants whose forecast is a quantile of the target.",
    )


def _paths(net: nn.Module) -> int:
    sampled = (m.levels.shape[1] for m in net.modules() if isinstance(m, AutoregressiveDecoder))
    return max(sampled, default=1)


def recurrent_net(net: nn.Module) -> RecurrentForecaster | None:
    """The net itself if it is recurrent; of an ensemble its first recurrent member that counts."""
    return next((m for m in _counting(net) if isinstance(m, RecurrentForecaster)), None)


def _counting(net: nn.Module) -> Iterator[nn.Module]:
    if isinstance(net, EnsembleForecaster):
        yield from (net.members[k] for k in torch.nonzero(net.counts).flatten().tolist())
    else:
        yield net


def typical(panel: Panel, windows: Windows, lookback: int) -> Windows:
    """One window to draw: the middle one of those whose look-back is best known."""
    unknown = np.isnan(history(panel, windows, lookback)).sum(1)
    best = np.flatnonzero(unknown == unknown.min())
    return windows[best[[len(best) // 2]]]


@torch.no_grad()
def activations(predictor: NetPredictor, panel: Panel, window: Windows) -> dict[str, np.ndarray]:
    """What the last layer of a net's :func:`recurrent_net`, which it must have, does with one window.

    Returns:
        (T, n) each: the gates of the cell by name, and its ``state``.
    """
    recurrent = recurrent_net(predictor.net)
    assert recurrent is not None
    feed = PanelFeed(panel, predictor.spec, predictor.scaling, predictor.meta)
    read: list[Tensor] = []
    with recurrent.encoder.register_forward_pre_hook(lambda _, x: read.append(x[0])):
        predictor.net.quantiles(feed.batch(window))  # type: ignore[operator]
    return {name: out[0].numpy() for name, out in recurrent.encoder.activations(read[0]).items()}


def write(folder: Path, results: list[Sensitivity], left_out: dict[str, str], panel: Panel) -> None:
    """Write the files of the module's docstring; ``left_out`` says why, by variant."""
    lags = [(f.name, k + 1, v) for f in results for k, v in enumerate(f.lags)]
    steps = [(f.name, k, v) for f in results if f.steps is not None for k, v in enumerate(f.steps)]
    for file, rows, columns in (
        ("sensitivity.csv", lags, ["variant", "lag", "sensitivity"]),
        ("steps.csv", steps, ["variant", "step", "share"]),
    ):
        table = pd.DataFrame(rows, columns=columns)
        atomic.write_text(folder / file, table.to_csv(index=False, float_format="%.6g"))
    variants: dict[str, Any] = {name: {"left_out": why} for name, why in left_out.items()}
    for f in results:
        of_steps = {} if f.steps is None else {"steps": len(f.steps), "rows_of_a_step": f.rows}
        sizes = {"windows": f.windows, "lags": len(f.lags), **of_steps}
        variants[f.name] = f.horizons | sizes
    facts = {"source": panel.meta.source, "data_hash": panel.meta.data_hash, "share": SHARE}
    atomic.write_json(folder / "memory.json", facts | {"variants": variants})


def render(results: list[Sensitivity], title: str) -> str:
    """Within how far back nine tenths lie, as a terminal table."""
    numbers, rows = ("through all it reads", "through the state"), []
    for f in results:
        last = f.horizons
        state = "-"
        if f.steps is not None:
            state = f"{last['memory_steps']} of {len(f.steps)} steps of {f.rows} rows"
        rows.append((f.name, f"{last['memory_lags']:,} of {len(f.lags):,} rows", state))
    return terminal.table(title, ("variant", *numbers), rows, numbers)
