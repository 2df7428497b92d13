"""Renders benchmarks/RESULTS.md from the JSON files in benchmarks/results/.

python -m benchmarks.results
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import accuracy
from benchmarks.common import table
from gatecast.core import atomic

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results", HERE / "RESULTS.md"
Rows = Iterator[tuple[str, ...]]


def _training(r: dict[str, Any]) -> Rows:
    yield "size", "CPU ms a step", "÷ bare loop (each round)", "÷ untuned bare loop", "÷ floor"
    for size in ("lstm_2x128", "lstm_1x16"):
        cell = r[size]
        ms = sum(e["cpu_step_ms"] for e in cell["engine"]) / len(cell["engine"])
        each = ", ".join(f"{v:.3f}" for v in cell["ratio_to_bare_each"])
        bare = f"**{cell['ratio_to_bare']:.3f}** ({each})"
        others = (f"{cell[k]:.3f}" for k in ("ratio_to_untuned_bare", "ratio_to_floor"))
        yield size, f"{ms:.2f}", bare, *others


def _evaluation(r: dict[str, Any]) -> Rows:
    yield "windows", "evaluate, CPU s", "peak, MiB", "promote, CPU s", "peak, MiB"
    for cell in (v for k, v in r.items() if k.startswith("windows_")):
        figures = [
            text
            for c in (cell, cell["promote"])
            for text in (f"{c['cpu_s']:.1f}", f"**{c['peak_mib']:.0f}**")
        ]
        yield f"{cell['windows']:,}", *figures
    yield "slope", f"{r['slope']:.2f}", "", f"{r['promote']['slope']:.2f}", ""


def _accuracy(r: dict[str, Any]) -> Rows:
    yield "who", "CPU seconds of training", "sMAPE", "MASE", "scored on"
    for run in r["runs"]:
        for name in ("reached", "at_the_end"):
            if run[name]:
                e = run[name]
                who = f"gatecast lstm_experts, seed {run['seed']}, {name.replace('_', ' ')}"
                numbers = (f"{e['cpu_seconds']:.1f}", f"{e['smape']:.2f}", f"{e['mase']:.3f}")
                yield who, *numbers, "last 48 training points"
    peers = RESULTS / "peers.json"
    for cell in (
        json.loads(peers.read_text(encoding="utf-8"))["accuracy"] if peers.is_file() else ()
    ):
        run, when = cell["run"], cell.get("measured")
        if "error" not in run:
            who = f"{cell['peer']} {cell['model']}" + (f" (run of {when})" if when else "")
            fitted, accuracy = run["fit_cpu_s"], run["accuracy"]
            numbers = (f"{fitted:.1f}", f"{accuracy['smape']:.2f}", f"{accuracy['mase']:.3f}")
            yield who, *numbers, "test file"


def _memory(r: dict[str, Any]) -> Rows:
    yield "series", "panel, MiB", "growth of anonymous memory, MiB", "first step, CPU s"
    yield (
        f"{r['series']:,}",
        f"{r['panel_mib']:.0f}",
        f"**{r['growth_mib']:.0f}**",
        f"**{r['first_step_s']:.1f}**",
    )


def _growth(r: dict[str, Any]) -> Rows:
    yield "series", "steps of an epoch", "CPU seconds of an epoch"
    for cell in r["cells"]:
        yield f"{cell['n']:,}", f"{cell['steps']:,}", f"{cell['cpu_s']:.3f}"
    yield "slope (log-log)", "", f"**{r['slope']:.3f}**"


def _peers(r: dict[str, Any]) -> Rows:
    yield (
        "who",
        "2×128: ÷ floor",
        "1×16: ÷ floor",
        "1×16: CPU ms a step",
        "start to first step, CPU s",
        "peak MiB",
    )
    for name in [(c["peer"], c["model"]) for c in r["speed"]]:
        speed, small = (_cell(r.get(plan, []), name) for plan in ("speed", "overhead"))
        ratios = (
            f"{c['ratio_to_floor']:.2f}" if "ratio_to_floor" in c else "–" for c in (speed, small)
        )
        run = small.get("run", {})
        numbers = (
            f"{run[key]:,.1f}" if key in run else "–"
            for key in ("cpu_step_ms", "fit_to_first_step_cpu_s", "peak_rss_mib")
        )
        yield " ".join(name), *ratios, *numbers


def _cell(cells: list[dict[str, Any]], name: tuple[str, str]) -> dict[str, Any]:
    return next((c for c in cells if (c["peer"], c["model"]) == name), {})


def _memory_horizon(r: dict[str, Any]) -> Rows:
    yield "cell", "held-out MSE, median of the seeds", "each seed", "steps", "CPU s"
    for cell, runs in r["runs"].items():
        each = ", ".join(f"{run['mse']:.4f}" for run in runs)
        steps = ", ".join(f"{run['steps']:,}" for run in runs)
        seconds = ", ".join(f"{run['cpu_s']:.0f}" for run in runs)
        yield cell, f"**{r['mse'][cell]:.4f}**", each, steps, seconds


def _logging_cost(r: dict[str, Any]) -> Rows:
    yield "part", "CPU seconds"
    yield from ((name, f"{seconds:.2f}") for name, seconds in r["parts"].items())
    yield "together", f"**{r['cpu_seconds']:.2f}**"
    yield "without import", f"{r['cpu_seconds_without_import']:.2f}"
    yield "tables of a new store, once", f"{r['tables_s']:.2f}"
    yield (
        "package; its weights; code in the model",
        "; ".join(f"{r[key]:,.0f} KiB" for key in ("package_kib", "weights_kib", "code_kib")),
    )


def _events(r: dict[str, Any]) -> Rows:
    head = ("AUROC", "Brier", "Brier skill")
    yield "who", *(f"{name}, {at}" for at in ("every hour", "midnights") for name in head)
    for who, scores in r["scores"].items():
        cells = (
            scores[at][k] for at in ("hourly", "midnight") for k in ("auroc", "brier", "skill")
        )
        yield who, *(_spread(cell) for cell in cells)
    ours, floor = r["scores"]["event_lstm"], r["scores"]["logistic"]
    keys = [(at, k) for at in ("hourly", "midnight") for k in ("auroc", "brier", "skill")]
    gains = (ours[at][k]["mean"] - floor[at][k]["mean"] for at, k in keys)
    yield "event_lstm less logistic", *(f"{gain:+.4f}" for gain in gains)


def _spread(cell: dict[str, Any]) -> str:
    """Mean over the seeds, and their spread if there is one."""
    return f"{cell['mean']:.3f}" + (f" ± {cell['spread']:.3f}" if cell["spread"] > 5e-4 else "")


def _scoring(r: dict[str, Any]) -> Rows:
    yield "what", "series", "series a second", "series a CPU second", "peak MiB, all processes"
    cells = [("day segments", cell) for cell in r["segment"]["cells"]]
    cells += [("the same, for memory: both at work", cell) for cell in r["segment"]["both_at_work"]]
    lstm = r["lstm_2x128"]
    cells += [("LSTM 2×128, 168 points", cell) for cell in lstm["runs"]]
    cells += [("its bare forward pass", cell) for cell in lstm["forward"]]
    for name, cell in cells:
        numbers = (
            f"{cell[k]:,}" for k in ("series", "series_per_s", "series_per_cpu_s", "peak_rss_mib")
        )
        yield name, *numbers
    yield "LSTM ÷ its forward pass, by CPU time", f"**{lstm['ratio_to_forward']:.2f}**", "", "", ""
    yield (
        "LSTM ÷ its forward pass, by the clock",
        f"{lstm['ratio_to_forward_wall']:.2f}",
        "",
        "",
        "",
    )


def _faults(r: dict[str, Any]) -> Rows:
    yield "fault", "survived"
    for name, entry in r["faults"].items():
        yield (
            name,
            ("yes" if entry["survived"] else "**no**") if "survived" in entry else "not tried",
        )
    yield f"**{r['tried']} tried**", f"**{r['survived']}**"


def _gpu(r: dict[str, Any]) -> Rows:
    yield "what", "figure"
    for key, value in r.items():
        if isinstance(value, int | float):
            yield key.replace("_", " "), f"{value:,.3f}"


SECTIONS: dict[str, tuple[str, str, Callable[[dict[str, Any]], Rows]]] = {
    "training": (
        "Training rate",
        "Windows per CPU second of the whole engine over a bare torch loop of the same net (goals: .95 and .85; at"
        " 2×128 also 1.5 over the untuned loop). The floor is `nn.LSTM` and a linear head on random numbers.",
        _training,
    ),
    "time_to_accuracy": (
        "Time to accuracy, M4 Hourly",
        "Goal: sMAPE 10.5 and MASE .95 in 15 CPU seconds, imports and set-up included. Libraries train 1,000 steps or"
        " 240 seconds of wall time on one core.",
        _accuracy,
    ),
    "peers": (
        "Beside four libraries",
        "One run, one core. The floor is a bare loop of `nn.LSTM` and a linear head with the C library's own allocator;"
        " gatecast's net does more: scaling at every step, eleven quantiles.",
        _peers,
    ),
    "memory": (
        "A million series",
        "Goals: under 300 MiB and 20 CPU seconds, imports included.",
        _memory,
    ),
    "evaluation": (
        "Evaluation at scale",
        "Seasonal naive on every window with all scores (evaluate); challenger, champion and baseline with the gate's"
        " resamples (promote); 48 steps, four windows per series. Goals at 10⁶ windows: 1.5 GB, and linear time.",
        _evaluation,
    ),
    "growth": (
        "Cost of an epoch of one window a series",
        "LSTM 1×16, 200 points. Goal: slope .85 to 1.15.",
        _growth,
    ),
    "memory_horizon": (
        "How far back a cell remembers",
        "The adding problem over 200 steps. Goals: under .02 for LSTM and GRU; the plain cell stays above .1"
        " (who answers the mean errs by .167). A run ends once it is below .004.",
        _memory_horizon,
    ),
    "logging_cost": (
        "Cost of logging a variant",
        "A run with forty epochs, the package, the MLflow model, the registered version, over the training itself;"
        " median of five processes. Goal: 3 CPU seconds.",
        _logging_cost,
    ),
    **{
        f"accuracy_{source}": (
            f"Accuracy, {source}",
            "Scores of the test span, mean ± spread over the seeds; bold is what the validation span chose.",
            accuracy.rows,
        )
        for source in accuracy.SOURCES
    },
    "events": (
        "Events: PM2.5 above 150 within 24 hours",
        "Test span, three seeds (mean ± standard deviation). Goals for `event_lstm`: at least as good as logistic"
        " regression, better than persistence. Reliability: ![](results/events.png)",
        _events,
    ),
    "scoring": (
        "Scoring",
        "From the panel on disk to the published manifest: horizon 48, eleven quantiles, two processes of one thread."
        " Goals: 20,000 series a second on two cores (10,000 a CPU second), and .75 of the bare forward pass. What else"
        " the machine was doing shows in the seconds by the clock, not in those of CPU.",
        _scoring,
    ),
    "faults": (
        "Faults of a scoring run",
        "Tried with real processes; after each there is one published run a key, no row lost, none doubled.",
        _faults,
    ),
    "gpu": ("On a GPU", "`python -m benchmarks.gpu`", _gpu),
}


def main() -> None:
    """Render every result that is there."""
    page = [
        "# Benchmarks",
        "",
        "Made by `make bench`; what each figure means stands in the file of its name.",
    ]
    for name, (title, what, rows) in SECTIONS.items():
        path = RESULTS / f"{name}.json"
        if not path.is_file():
            continue
        result = json.loads(path.read_text(encoding="utf-8"))
        page += ["", f"## {title}", "", what, "", *table(rows(result))]
        facts = "{date}, {cpu}, {cores} cores, Python {python}, torch {torch}".format(**result)
        command = name.replace("accuracy_", "accuracy --source ")
        page += ["", f"`python -m benchmarks.{command}`: {facts}, Lightning {result['lightning']}."]
    atomic.write_text(PAGE, "\n".join(page) + "\n")


if __name__ == "__main__":
    main()
