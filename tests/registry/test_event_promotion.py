"""Events at the gate: a champion of their own, moved as any other, on Brier score and AUROC beside persistence."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from gatecast.core.errors import EvaluationError, RegistryError
from gatecast.core.ledger import Ledger
from gatecast.data.config import DemoFeed, Task
from gatecast.data.panel import Panel
from gatecast.evaluation import event_board
from gatecast.evaluation.events import EventBacktest, persistence
from gatecast.registry import aliases, champion, gate, package, promotion, retention
from gatecast.registry.config import Promote
from gatecast.registry.mlflow import runs, store
from gatecast.reports import card, lineage, status
from gatecast.reports import promotion as report
from gatecast.training import trainer
from gatecast.training.config import Fit
from tests.recipes import model_of
from tests.registry.conftest import answer, settle

MODEL, QUANTILES = "gatecast-tiny-event", "gatecast-tiny"
GOOD, NEAR, FAIR, BAD = 1.0, 0.9, 0.2, 0.0  # parts of the fitted weights
ABOVE, OTHER = {"above": 33.0}, {"above": 28.0}


def make(place: Path, panel: Panel, event: dict[str, float], quality: float) -> None:
    """A package of logistic regression, its board and its run."""
    model = model_of(kind="logistic", head="event", event=event, penalties=[1.0])
    trained = trainer.train("mine", panel, model, Fit(threads=1), 1)
    net = copy.deepcopy(trained.net)
    with torch.no_grad():
        net.weight.mul_(quality)  # type: ignore[operator,union-attr]
    folder = place / "models/mine"
    digest = package.write(folder, "mine", model, 1, panel.meta, replace(trained, net=net))
    results = event_board.compare(panel, [package.load(folder)])
    event_board.write(place / "reports", results, panel, {"mine": digest})
    runs.ensure(folder)


Places = dict[tuple[str, float], Path]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, tiny: Panel
) -> Iterator[tuple[Path, Places]]:
    """A store that knows the runs of packages of some qualities, and where they lie; copy the store."""
    folder, places = tmp_path_factory.mktemp("events"), {}
    with pytest.MonkeyPatch.context() as patch:
        settle(folder, empty_store, patch)
        for quality in (GOOD, NEAR, FAIR, BAD):
            places["own", quality] = folder / str(quality)
            make(folder / str(quality), tiny, ABOVE, quality)
        places["other", GOOD] = folder / "other"
        make(folder / "other", tiny, OTHER, GOOD)
        yield folder, places


Send = Callable[..., dict[str, Any]]


@pytest.fixture
def send(
    made: tuple[Path, Places], tmp_path: Path, tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> Send:
    """Send a package to the gate, in a project folder of one's own."""
    folder, places = made
    settle(tmp_path, folder / "mlflow.db", monkeypatch)

    def run(quality: float, event: str = "own", **rules: Any) -> dict[str, Any]:
        place = places[event, quality]
        board, models = place / "reports/events.json", place / "models"
        return promotion.promote(tiny, board, models, Promote(**rules), "event")

    return run


def sits(model: str = MODEL) -> dict[str, int]:
    try:
        found = store.client().get_registered_model(model).aliases
    except mlflow.MlflowException:  # nothing was ever registered
        return {}
    return {name: int(version) for name, version in found.items()}


def verdicts() -> list[str]:
    return [e.facts["verdict"] for e in Ledger().entries("promotion", MODEL)]


def test_the_first_event_variant_with_skill_becomes_champion_of_events(
    send: Send, tiny: Panel
) -> None:
    facts = send(GOOD)
    assert (facts["verdict"], facts["champion"], facts["model"]) == ("promoted", 1, MODEL)
    assert (sits(), sits(QUANTILES)) == ({"champion": 1}, {})
    assert [c["name"] for c in facts["checks"]] == ["origins", "skill", "auroc"]
    expected = EventBacktest.of(tiny).run(persistence(tiny, ABOVE), ABOVE).pooled
    assert facts["scores"]["persistence"] == pytest.approx(expected["brier"])
    assert facts["checks"][2]["bound"] == pytest.approx(expected["auroc"])
    tags = store.client().get_model_version(MODEL, "1").tags
    assert tags["gatecast.event"] == "above 33"
    assert float(tags["gatecast.brier.challenger"]) == pytest.approx(
        facts["scores"]["challenger"], rel=1e-5
    )
    assert verdicts() == ["promoted"]


def test_the_champion_of_events_gives_the_probabilities_of_its_package(
    send: Send, made: tuple[Path, Places], tiny: Panel
) -> None:
    send(GOOD)
    found = champion.champion("tiny", task="event")
    assert found is not None
    assert champion.champion("tiny") is None
    windows = EventBacktest.of(tiny).windows
    own = package.load(made[1]["own", GOOD] / "models/mine").predict(tiny, windows)
    np.testing.assert_array_equal(
        found.package.predictor.predict(tiny, windows).probability, own.probability
    )


def test_a_better_net_takes_the_place_of_the_champion_of_events(send: Send, tiny: Panel) -> None:
    send(FAIR)
    sitting = champion.champion("tiny", task="event")
    assert sitting is not None
    facts = send(GOOD)
    assert (facts["verdict"], facts["champion"], facts["champion_before"]) == ("promoted", 2, 1)
    assert sits() == {"champion": 2, "previous": 1}
    now = EventBacktest.of(tiny).run(sitting.package.predictor, ABOVE).pooled["brier"]
    assert facts["scores"]["champion"] == pytest.approx(now)
    assert facts["checks"][-1]["name"] == "gain"


def test_a_net_no_better_than_persistence_is_not_promoted(send: Send) -> None:
    facts = send(BAD)
    assert (facts["verdict"], facts["champion"]) == ("not_better", None)
    assert "against persistence's" in facts["reason"]
    assert [c["name"] for c in facts["checks"] if not c["passed"]] == ["skill", "auroc"]
    assert sits() == {}
    assert verdicts() == ["not_better"]


@pytest.mark.parametrize("sitting", [GOOD, NEAR], ids=["worse", "better by a hair"])
def test_a_net_no_better_than_the_sitting_champion_of_events_is_not_promoted(
    sitting: float, send: Send
) -> None:
    send(sitting)
    facts = send(FAIR if sitting == GOOD else GOOD)
    assert (facts["verdict"], facts["champion"]) == ("not_better", 1)
    assert "against the champion's" in facts["reason"]
    assert [c["name"] for c in facts["checks"] if not c["passed"]] == ["gain"]
    assert sits() == {"champion": 1}


@pytest.mark.parametrize("nth", [0, 1], ids=["challenger", "champion"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (
            lambda f: replace(f, probability=np.full_like(f.probability, np.nan)),
            "NAN-FORECAST",
        ),
        (lambda f: f[:-10], "MISSING-FORECAST"),
    ],
    ids=["no number", "missing"],
)
def test_probabilities_that_are_no_numbers_or_missing_promote_nobody(
    change: Any, code: str, nth: int, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(FAIR)
    answer(monkeypatch, nth, change)
    with pytest.raises(EvaluationError) as caught:
        send(GOOD)
    assert caught.value.code == code
    assert (sits(), verdicts()) == ({"champion": 1}, ["promoted"])


def test_an_event_that_never_happened_in_the_test_span_promotes_nobody(
    send: Send, made: tuple[Path, Places], tiny: Panel
) -> None:
    """Neither AUROC nor a gain over who never errs can be had."""
    values = np.array(tiny.values)
    for first, cut, end in zip(
        tiny.indptr[:-1], tiny.split_points[1], tiny.indptr[1:], strict=True
    ):
        values[first + cut : end, 0] = values[first + cut : end, 0].clip(max=30.0)
    place = made[1]["own", GOOD]
    calm = replace(tiny, values=values)
    facts = promotion.promote(
        calm, place / "reports/events.json", place / "models", Promote(), "event"
    )
    assert facts["verdict"] == "not_better"
    assert next(c for c in facts["checks"] if c["name"] == "auroc")["value"] is None


def test_few_origins_keep_an_event_variant_out(send: Send) -> None:
    facts = send(GOOD, min_origins=1000)
    assert (facts["verdict"], facts["champion"]) == ("not_better", None)
    assert "matured origins" in facts["reason"]


def test_another_event_is_not_compared(send: Send) -> None:
    send(GOOD)
    facts = send(GOOD, "other")
    assert (facts["verdict"], facts["champion"]) == ("not_comparable", 1)
    assert "version 1 forecasts above 33, mine above 28" in facts["reason"]
    assert send(GOOD, "other", replace_incomparable=True)["champion"] == 2


def test_the_champion_of_events_is_rolled_back_and_stays_so(send: Send) -> None:
    send(FAIR)
    send(GOOD)
    moved = aliases.rollback("tiny", "too many alarms", "event")
    assert (moved["champion"], moved["reason"]) == (1, "too many alarms")
    assert sits() == {"champion": 1, "previous": 2}
    assert send(GOOD)["verdict"] == "rolled_back"
    assert sits() == {"champion": 1, "previous": 2}
    assert aliases.rollback("tiny", task="event")["champion"] == 2
    with pytest.raises(RegistryError, match="gatecast-tiny has no champion"):
        aliases.rollback("tiny")


def test_inside_an_experiment_nothing_of_events_moves(
    send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "try")
    assert send(GOOD)["verdict"] == "experiment"
    assert sits() == {}


def test_a_reader_of_status_lineage_and_housekeeping_finds_the_champion_of_events(
    send: Send,
) -> None:
    feed = DemoFeed(name="tiny", kind="demo", task=Task(horizon=24))
    assert "\nevent " not in status.report(feed)
    send(GOOD)
    said = status.report(feed)
    assert re.search(r"^event +gatecast-tiny-event v1 \(mine, ", said, re.M)
    assert "(persistence 0.183)" in said
    assert "none: nothing of tiny has been promoted" in said
    facts = lineage.of_version("tiny", 1, task="event")
    assert (facts["variant"], facts["aliases"]) == ("mine", ["champion"])
    assert [d["verdict"] for d in facts["decisions"]] == ["promoted"]
    assert retention.plan(MODEL, 1, {}) == [retention.Step(1, "keep", "it is @champion")]


@pytest.fixture
def both(
    send: Send,
    made: tuple[Path, Places],
    tmp_path: Path,
    tiny: Panel,
    write_package: Callable[..., str],
    evaluate: Callable[..., Path],
) -> Path:
    """A project folder with a variant of each kind, both worth promoting."""
    del send  # it has settled in the folder
    write_package(tmp_path / "models/linear", tiny)
    evaluate(tmp_path, tiny)
    place = made[1]["own", GOOD]
    for name in ("package.json", "weights.safetensors"):
        (tmp_path / "models/mine").mkdir(exist_ok=True)
        (tmp_path / "models/mine" / name).write_bytes((place / "models/mine" / name).read_bytes())
    (tmp_path / "reports/events.json").write_bytes((place / "reports/events.json").read_bytes())
    return tmp_path


def decide(folder: Path, panel: Panel) -> tuple[dict[str, Any], list[Exception]]:
    facts, errors = promotion.decide(panel, folder / "reports", folder / "models", Promote())
    report.write(folder / "promotion.json", facts)
    return json.loads((folder / "promotion.json").read_text()), errors


def test_a_variant_of_each_kind_is_decided_in_one_pass(both: Path, tiny: Panel) -> None:
    facts, errors = decide(both, tiny)
    assert errors == []
    assert (facts["challenger"], facts["verdict"], facts["champion"]) == ("linear", "promoted", 1)
    event = facts["event"]
    assert (event["challenger"], event["verdict"], event["champion"]) == ("mine", "promoted", 1)
    assert (sits(), sits(QUANTILES)) == ({"champion": 1}, {"champion": 1})
    page = (both / "promotion.md").read_text()
    assert page.startswith("# gatecast-tiny: linear: promoted\n")
    assert "\n# gatecast-tiny-event: mine: promoted\n" in page
    assert "| auroc | 0.96" in page
    assert "mode=rollback event=true" in page
    again, _ = promotion.decide(tiny, both / "reports", both / "models", Promote())
    assert (again["verdict"], again["event"]["verdict"]) == ("already_champion",) * 2
    report.write(both / "promotion.json", again)
    assert (both / "promotion.md").read_text() == page


@pytest.mark.parametrize(
    ("broken", "failed", "other"),
    [("leaderboard.json", QUANTILES, MODEL), ("events.json", MODEL, QUANTILES)],
)
def test_an_error_of_one_kind_does_not_keep_the_other_from_its_decision(
    broken: str, failed: str, other: str, both: Path, tiny: Panel
) -> None:
    (both / "reports" / broken).write_text("{}")
    facts, errors = decide(both, tiny)
    assert [type(error) for error in errors] == [RegistryError]
    made = {each["model"]: each for each in (facts, facts["event"])}
    assert made[failed]["verdict"] == gate.FAILED
    assert "RegistryError[LEADERBOARD]" in made[failed]["reason"]
    assert made[other]["verdict"] == "promoted"
    assert (sits(failed), sits(other)) == ({}, {"champion": 1})
    page = (both / "promotion.md").read_text()
    assert f"# {failed}: no challenger: failed" in page
    assert f"# {other}: " in page
    assert page.count("Champion now") == 1  # of the other; nobody knows this one's


def test_without_a_variant_of_events_the_report_has_none(both: Path, tiny: Panel) -> None:
    event_board.write(both / "reports", [], tiny, {})
    facts, errors = decide(both, tiny)
    assert (facts["verdict"], facts["event"], errors) == ("promoted", None, [])
    assert "event" not in (both / "promotion.md").read_text()


def test_event_variants_alone_are_decided(both: Path, tiny: Panel) -> None:
    board = json.loads((both / "reports/leaderboard.json").read_text())
    alone = json.dumps(board | {"best": None, "elsewhere": ["mine"]})
    (both / "reports/leaderboard.json").write_text(alone)
    facts, errors = decide(both, tiny)
    assert errors == []
    assert (facts["verdict"], facts["champion"]) == ("nothing_to_promote", None)
    assert "mine forecast events" in facts["reason"]
    assert facts["event"]["verdict"] == "promoted"


def test_the_card_of_an_event_package_says_what_happens_and_loads_its_champion(
    send: Send, made: tuple[Path, Places], tiny: Panel, frame: pd.DataFrame
) -> None:
    folder = made[1]["own", GOOD] / "models/mine"
    floor, mine = (
        EventBacktest.of(tiny).run(p, ABOVE)
        for p in (persistence(tiny, ABOVE), package.load(folder))
    )
    content, digest = package.describe(folder), package.digest(folder)
    text = card.of(content, digest, tiny, mine, floor, {})
    assert len(text) <= card.LENGTH
    assert re.findall("^## (.*)$", text, re.M) == [
        *("Intended use", "Data", "Scores", "Limits", "Training cost", "How to load"),
    ]
    assert "the probability of an event (above 33)" in text
    assert "| score | mine | persistence |" in text
    for name in ("brier", "auroc", "log_loss", "skill", "base_rate"):
        assert f"| {name} | {mine.pooled[name]:.4g} | {floor.pooled[name]:.4g} |" in text
    assert "interval held" not in text
    run_id = runs.ensure(folder)
    runs.log_card(run_id, text)
    send(GOOD)
    assert store.client().get_model_version(MODEL, "1").description == text
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict[str, Any] = {"df": frame}
    exec(code, names)
    assert names["table"]["probability"].between(0, 1).all()
