"""The page of a scoring run: one HTML file with everything in it, which opens from disk without a network.

Ids of series come from a feed and are never trusted: the template escapes all text, and what cannot be seen (control
characters, marks that turn the direction of writing) is spelled out.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from gatecast.core import atomic
from gatecast.core.errors import GatecastError, ScoringError
from gatecast.core.forecast import Event, say
from gatecast.data.panel import Panel
from gatecast.data.windows import Windows, history
from gatecast.reports.review import BANDS, CHANGED, CHOSEN, LARGEST, MIDDLE, Fan, Review, review
from gatecast.scoring import sinks, store
from gatecast.scoring.config import SinkSettings
from gatecast.scoring.sinks import Sink

PAGES = Path("reports/scoring")
_LONGEST = 96  # characters of an id that are shown
_BLUE, _GREY, _RED = "#2563eb", "#374151", "#dc2626"


def after(
    source: str, run_key: str, recipe: SinkSettings | None = None, show: Sequence[str] = ()
) -> str:
    """Draw the run that has just been published, and say where. A page that cannot be drawn is a warning, no error."""
    try:
        path = of_run(source, run_key, newest=True, recipe=recipe, show=show)
        return f"  page of the run: {path}"
    except (
        Exception
    ) as error:  # the forecasts are out: whatever this is, it must not look as if they were not
        why = str(error) if isinstance(error, GatecastError) else repr(error)
        return f"  warning: the run is published, its page could not be drawn: {why}"


def of_run(
    source: str,
    run_key: str | None = None,
    newest: bool = False,
    recipe: SinkSettings | None = None,
    show: Sequence[str] = (),
) -> Path:
    """Draw a published run.

    Args:
        source: name of the source recipe.
        run_key: None: the newest of the source, of quantiles if there is one.
        newest: call the page by source (and ``-event``), not by source and key.
        recipe: where it is published; None: Parquet in ``forecasts/``.
        show: ids of series that are drawn in any case.

    Raises:
        ScoringError: NO-RUN, SNAPSHOT, CORRUPT.
    """
    sink = sinks.sink(recipe or SinkSettings())
    key = run_key or _newest(sink.manifests(source))
    manifest = sink.find(source, key) if key else None
    if manifest is None:
        asked = f"run {run_key}" if run_key else "run"
        raise ScoringError(
            "NO-RUN",
            f"{sink.where(source, '')} holds no published {asked} of {source}.",
            "`gatecast status` lists the runs; `source=…` names another source.",
        )
    mark = "-event" if store.task_of(manifest) == "event" else ""
    path = PAGES / (f"{source}{mark}.html" if newest else f"{source}-{key}.html")
    return draw(manifest, sink, list(show), path)


def _newest(runs: list[dict[str, Any]]) -> str | None:
    """Key of the last run of quantiles, else of events; None if there is none."""
    quantiles = [m for m in runs if store.task_of(m) == "quantile"]
    return next((str(m["run_key"]) for m in reversed(quantiles or runs)), None)


def draw(manifest: dict[str, Any], sink: Sink, show: list[str], path: Path) -> Path:
    """Write the page of a published run, atomically; see :func:`review` for what it shows."""
    where = sink.where(manifest["source"], manifest["run_key"])
    atomic.write_text(path, render(review(manifest, sink, show), where))
    return path


def render(seen: Review, where: str) -> str:
    """The page as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["plain"] = plain
    event = seen.manifest.get("event")
    titles = {
        CHOSEN: "Chosen series (score.show)",
        CHANGED: "Changed most since the run before",
        LARGEST: "Most at risk" if event else "Largest series",
    }
    charts = [
        (titles[why], [_chart(seen.panel, fan, event) for fan in fans])
        for why, fans in seen.fans.items()
    ]
    return environment.get_template("page.html").render(
        m=seen.manifest,
        own=seen.manifest["series"]
        - seen.manifest["fallbacks"]
        - seen.manifest.get("quarantined", 0),
        before=seen.before,
        trouble=seen.trouble,
        where=where,
        charts=charts,
        event=say(event) if event else "",
        risks=seen.risks,
        missing=seen.missing,
        reasons=seen.reasons,
        groups=seen.groups,
        failed=seen.failed,
    )


def plain(text: str) -> str:
    """A text on one line whose every character can be seen, cut where it is very long."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def _chart(panel: Panel, fan: Fan, event: Event | None) -> dict[str, Any]:
    from markupsafe import Markup

    return {
        "id": str(panel.ids[fan.series]),
        "svg": Markup(_svg(panel, fan, event)),  # numbers and stamps only
        "change": None if np.isnan(fan.change) else float(fan.change),
        "reason": fan.reason,
    }


def _svg(panel: Panel, fan: Fan, event: Event | None = None) -> str:
    """History and forecast of a series as an SVG element; the dashed line is what the run before said."""
    import matplotlib as mpl
    from matplotlib import dates
    from matplotlib.figure import Figure

    horizon = len(fan.bands)
    origin = fan.position + 1 - int(panel.position[fan.series])
    length = min(origin, max(3 * panel.meta.season_length, 2 * horizon))
    past = history(panel, Windows(np.array([fan.series]), np.array([origin])), length)[0]
    axis = panel.axis[fan.position + 1 - length : fan.position + 1 + horizon]
    stamps = dates.date2num(axis.to_numpy())
    ahead = stamps[length - 1 :]  # from the last value, so that a single step is seen, too
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gatecast", "font.size": 8}):
        figure = Figure(figsize=(4.6, 2.1), layout="constrained")
        ax = figure.add_subplot()
        ax.spines[["top", "right"]].set_visible(False)
        ax.plot(stamps[:length], past, color=_GREY, linewidth=1)
        if event:
            _draw_event(ax, ahead, fan, event)
        else:
            _draw_quantiles(ax, ahead, fan, past[-1])
        zone = ZoneInfo(panel.meta.timezone or "UTC")
        locator = dates.AutoDateLocator(zone, minticks=3, maxticks=6)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, zone))
        ax.margins(x=0.01)
        out = io.StringIO()
        bare = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(out, format="svg", transparent=True, metadata=bare)
    text = out.getvalue()
    return text[text.index("<svg") :]


def _draw_quantiles(ax: Any, ahead: np.ndarray, fan: Fan, last: float) -> None:
    bands = np.vstack([np.full(len(BANDS), last), fan.bands])
    for low, alpha in ((0, 0.15), (1, 0.25)):
        high = len(BANDS) - 1 - low
        ax.fill_between(ahead, bands[:, low], bands[:, high], color=_BLUE, alpha=alpha, linewidth=0)
    ax.plot(ahead[1:], fan.before, color=_RED, linewidth=1, linestyle="--")
    ax.plot(ahead, bands[:, MIDDLE], color=_BLUE, linewidth=1.4)


def _draw_event(ax: Any, ahead: np.ndarray, fan: Fan, event: Event) -> None:
    """The threshold over the history, and the probability on an axis of its own, from 0 to 1."""
    (threshold,) = event.values()
    ax.axhline(threshold, color=_GREY, linewidth=0.8, linestyle=":")
    right = ax.twinx()
    right.set_ylim(0, 1)
    right.spines["top"].set_visible(False)
    p = np.concatenate([[0.0], fan.bands[:, 0]])
    right.fill_between(ahead, 0, p, color=_BLUE, alpha=0.2, linewidth=0)
    right.plot(ahead, p, color=_BLUE, linewidth=1.4)
    right.plot(ahead[1:], fan.before, color=_RED, linewidth=1, linestyle="--")
