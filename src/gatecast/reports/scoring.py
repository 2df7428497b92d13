"""What a scoring run did, for people."""

from __future__ import annotations

from gatecast.core.forecast import say
from gatecast.scoring import store
from gatecast.scoring.run import Summary


def text(done: Summary, horizon: int | None = None) -> str:
    """A paragraph for the terminal.

    Args:
        done: the run.
        horizon: what the user asked for; None: the champion's own.
    """
    m = done.manifest
    model = f"{m['model']} v{m['version']} ({m['variant']})"
    if store.task_of(m) == "event":
        model += f", which forecasts {say(m['event'])}"
    lines = []
    if horizon and horizon != m["horizon"]:
        lines.append(
            f"score: the champion forecasts {m['horizon']} steps; horizon={horizon} needs a training of its own"
        )
    if not done.fresh:
        when = m["scored_at"][:19]
        return "\n".join(
            [*lines, f"score: {model} has scored this feed already, at {when} UTC: {done.where}"]
        )
    lines.append(
        f"score: {m['series']:,} series x {m['horizon']} steps from {m['cutoff']} by {model},"
        f" {m['fallbacks']:,} fallbacks, {m['quarantined']:,} quarantined -> {done.where}"
        f" in {done.seconds:.1f} s"
    )
    if m["revision"] > 1:
        lines.append(f"  revision {m['revision']} of the forecasts from {m['cutoff']}")
    lines += [f"  quarantined: {series!r}: {why}" for series, why in m["quarantine"][:5]]
    remarks = {
        "short": "series have fewer values than a season: their forecasts are little more than a guess",
        "stale": "series ended long before the newest value; they are forecast from their own last one",
        "without_known_covariates": "series lack covariates known ahead: the training mean stands in for them",
    }
    lines += [f"  {m[key]:,} {remark}" for key, remark in remarks.items() if m[key]]
    return "\n".join(lines)
