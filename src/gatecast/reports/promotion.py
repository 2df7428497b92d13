"""The report of a promotion: ``reports/promotion.json`` for programs, ``reports/promotion.md`` for people."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatecast.core import atomic
from gatecast.core.numbers import finite
from gatecast.registry import gate

_NEXT = {
    gate.PROMOTE: "Score with it: `gatecast score`. Back to the one before:"
    " `gatecast promote mode=rollback`.",
    gate.KEEP: "The champion stays. Look at the checks that failed; their bounds are `promote:` in `params.yaml`.",
    gate.CURRENT: "Nothing is to be done: the best variant is the champion.",
    gate.ROLLED_BACK: "A package that was withdrawn does not come back by itself. To have it back:"
    " `gatecast promote mode=rollback`, or point the alias at it in MLflow's pages.",
    gate.NOT_COMPARABLE: "The champion stays. `promote.replace_incomparable: true` in `params.yaml` lets the"
    " challenger take its place without a comparison.",
    gate.NOTHING: "Add a variant that forecasts quantiles to `variants` in `params.yaml`.",
    gate.EXPERIMENT: "To promote it: `dvc exp apply`, then `gatecast promote`.",
    gate.FAILED: "The champion stays. Mend what the error names, then `dvc repro`.",
}
_NEXT_EVENT = {  # where it is another thing
    gate.PROMOTE: "Load it as the model card says. Back to the one before:"
    " `gatecast promote mode=rollback event=true`.",
    gate.ROLLED_BACK: "A package that was withdrawn does not come back by itself. To have it back:"
    " `gatecast promote mode=rollback event=true`, or point the alias at it in MLflow's pages.",
}


def write(report: Path, facts: dict[str, Any]) -> None:
    """Write ``promotion.json`` and, beside it, ``promotion.md``.

    A decision that made a package champion stays in the report as it was made, however often it is confirmed.
    """
    before = _read(report)
    event = _made(before.get("event"), facts.get("event"))
    clean = finite(_made(before, facts) | {"event": event})
    atomic.write_json(report, clean)
    atomic.write_text(report.with_suffix(".md"), markdown(clean))


def _read(report: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        return dict(json.loads(report.read_text(encoding="utf-8")))
    return {}


def _made(before: Any, now: Any) -> Any:
    """The decision in the report, if the one now only confirms it; else the one now."""
    if not before or not now or now["verdict"] != gate.CURRENT:
        return now
    same = ("model", "digest", "data_hash", "champion")
    return before if all(before.get(key) == now[key] for key in same) else now


def markdown(facts: dict[str, Any]) -> str:
    """The decision on quantiles, then that on events, if any variant forecasts one. Without times: a DVC output."""
    event = facts.get("event")
    return _decision(facts) + ("\n" + _decision(event, event=True) if event else "")


def _decision(facts: dict[str, Any], event: bool = False) -> str:
    """The verdict, why, every check in a table, and what to do next."""
    champion = lambda version: f"version {version}" if version else "none"  # noqa: E731
    lines = [
        f"# {facts['model']}: {facts['challenger'] or 'no challenger'}: {facts['verdict']}",
        "",
        f"{facts['reason'].rstrip('.')}.",
        "",
    ]
    if facts["verdict"] != gate.FAILED:
        before, now = (champion(facts[key]) for key in ("champion_before", "champion"))
        lines += [f"Champion before: {before}. Champion now: {now}.", ""]
    if facts["checks"]:
        lines += ["| check | value | bound | | |", "|---|---|---|---|---|"]
        lines += [_row(check) for check in facts["checks"]]
        lines.append("")
    if facts["scores"]:
        lines += [f"| {facts['metric']}, on the same origins | |", "|---|---|"]
        lines += [
            f"| {name.replace('_', ' ')} | {_cell(v)} |" for name, v in facts["scores"].items()
        ]
        lines.append("")
    after = _NEXT_EVENT.get(facts["verdict"]) if event else None
    lines += [
        f"**Next.** {after or _NEXT[facts['verdict']]}",
        "",
        f"Package `{(facts['digest'] or '-')[:12]}`, data `{facts['data_hash'][:12]}`.",
    ]
    return "\n".join(lines) + "\n"


def _row(check: dict[str, Any]) -> str:
    bound = check["bound"]
    limits = " to ".join(map(_cell, bound)) if isinstance(bound, list) else f"≥ {_cell(bound)}"
    passed = "passed" if check["passed"] else "**failed**"
    cells = (check["name"], _cell(check["value"]), limits, passed, check["says"])
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
