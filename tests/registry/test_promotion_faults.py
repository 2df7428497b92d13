"""A thousand promotions and rollbacks that die somewhere: the alias never names what the ledger did not promote.

Store and ledger are real SQLite files, packages and their runs are real; the verdict is given, because the comparison
writes nothing. Processes are forked from one in which everything is imported, and end as killed ones do, at a failpoint
or right before any statement that reaches a database. Twenty more are killed from outside.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gatecast.core import failpoints
from gatecast.data.panel import Panel
from gatecast.registry import aliases, gate, promotion
from gatecast.registry.config import Promote
from gatecast.registry.mlflow import runs

PACKAGES = 6  # of a round; then the registry is empty again
ROUND = 20  # promotions and rollbacks of a round
STATEMENTS = 240  # of a promotion that moves the alias, about
MODEL = "gatecast-tiny"


@pytest.fixture
def stocked(
    workplace: Path,
    tiny: Panel,
    write_package: Callable[..., str],
    evaluate: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> list[Path]:
    """A project folder whose store knows the runs of six packages; the boards that name them."""
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    boards = []
    for k in range(PACKAGES):
        folder = workplace / str(k)
        write_package(folder / "models/linear", tiny, 1 - 0.001 * k)
        boards.append(evaluate(folder, tiny))
        runs.ensure(folder / "models/linear")
    shutil.copy("mlflow.db", "before.db")
    return boards


def promoted(
    _: Any, __: Any, digest: str, sitting: Any, *___: Any
) -> tuple[gate.Verdict, dict[str, float]]:
    """What a comparison says of a package that passes, unless it sits already."""
    if sitting and sitting.digest == digest:
        return gate.Verdict(gate.CURRENT, "it is"), {"challenger": 0.5}
    return gate.Verdict(gate.PROMOTE, "better"), {"challenger": 0.5, "seasonal_naive": 1.0}


def act(tiny: Panel, board: Path | None) -> None:
    """Promote the package of a board; None: roll back."""
    if board is None:
        aliases.rollback("tiny")
    else:
        promotion.promote(tiny, board, board.parents[1] / "models", Promote())


def forked(job: Callable[[], None]) -> int:
    """Exit status of a job in a process of its own: 0, 1 if it raised, or that of its death."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            job()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def dying(tiny: Panel, board: Path | None, point: str | int) -> Callable[[], None]:
    """A job that dies at a failpoint, or right before its n-th statement."""

    def job() -> None:
        if isinstance(point, str):
            os.environ["GATECAST_FAILPOINT"] = point
        else:
            left = [point]

            @sa.event.listens_for(sa.Engine, "before_cursor_execute")
            def count(*_: Any) -> None:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(failpoints.DIED)

        act(tiny, board)

    return job


def tables() -> bool:
    """Whether the ledger has its two tables."""
    with closing(sqlite3.connect("ledger.db", timeout=60)) as ledger:
        (n,) = ledger.execute("select count(*) from sqlite_master where type = 'table'").fetchone()
    return bool(n == 2)


def time_passes() -> None:
    """The lease of who died has run out."""
    with closing(sqlite3.connect("ledger.db", timeout=60)) as ledger, ledger:
        ledger.execute("update leases set expires_at = 0")


def sound(settled: bool) -> int | None:
    """Assert the invariant; the champion's version.

    Args:
        settled: nothing has died since, so that aliases, ledger and notes of moves must agree.
    """
    with closing(sqlite3.connect("mlflow.db", timeout=60)) as store:
        named = dict(store.execute("select alias, version from registered_model_aliases"))
        query = (
            "select v.version, t.value from model_versions v join model_version_tags t"
            " on t.name = v.name and t.version = v.version and t.key = 'gatecast.digest'"
            " where v.status = 'READY' and v.current_stage = 'None'"
        )
        ready = dict(store.execute(query))
    with closing(sqlite3.connect("ledger.db", timeout=60)) as ledger:
        ledger.row_factory = sqlite3.Row
        rows = ledger.execute(
            "select id, json_extract(facts, '$.verdict') verdict, json_extract(facts, '$.digest') digest,"
            " json_extract(facts, '$.champion') champion, json_extract(facts, '$.champion_before') before"
            " from ledger where kind = 'promotion' order by id"
        ).fetchall()
        done = [
            r[0] for r in ledger.execute("select once from ledger where kind = 'promotion_done'")
        ]
    moves = [r for r in rows if r["verdict"] in (gate.PROMOTE, gate.ROLLBACK)]
    assert len(done) == len(set(done))
    assert not [r for r in rows if r["verdict"] == gate.BY_HAND], "no hand was there"
    champion = named.get("champion")
    if champion is None:
        assert len(moves) <= 1, "a champion was there once"
        assert not settled or not moves
        return None
    assert champion in ready, "a version that is not fully registered"
    assert (champion, ready[champion]) in {(r["champion"], r["digest"]) for r in moves}
    assert champion in (moves[-1]["champion"], moves[-1]["before"])
    if settled:
        assert champion == moves[-1]["champion"]
        assert named.get("previous") == moves[-1]["before"]
        assert len(done) == len(moves)
    return int(champion)


@pytest.mark.slow
def test_no_promotion_that_dies_anywhere_leaves_a_champion_that_was_not_promoted(
    stocked: list[Path], tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "_compare", promoted)
    monkeypatch.setattr(runs, "lineage", dict)  # asks git; writes nothing
    monkeypatch.setattr(aliases, "withdrawn", lambda *_: False)  # every package may come back
    for board in stocked[:2]:  # what a first promotion compiles is inherited by all that are forked
        act(tiny, board)
    aliases.rollback("tiny")
    draw, died = random.Random(1), Counter[str]()
    total = int(os.environ.get("GATECAST_FAULTS", "1000"))
    for n in range(total):
        if n % ROUND == 0:
            shutil.copy("before.db", "mlflow.db")
            Path("ledger.db").unlink(missing_ok=True)
        back = n % ROUND > 2 and draw.random() < 0.25
        board = None if back else draw.choice(stocked)
        point = (
            draw.choice(failpoints.PROMOTION) if draw.random() < 0.5 else draw.randrange(STATEMENTS)
        )
        status = forked(dying(tiny, board, point))
        assert status in (0, failpoints.DIED), point
        died["died" if status else "ended"] += 1
        if tables():  # it may die before it makes them
            sound(settled=False)
            time_passes()
        assert forked(lambda board=board: act(tiny, board)) == 0, point
        assert sound(settled=True) is not None
        if not (n + 1) % 100:
            print(f"  {n + 1} of {total}: {dict(died)}", flush=True)
    print(f"{total} promotions and rollbacks: {dict(died)}")
    assert died["died"] > 0.6 * total


@pytest.mark.slow
def test_no_promotion_that_is_killed_from_outside_leaves_a_champion_that_was_not_promoted(
    stocked: list[Path], tiny: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at any moment of an endless row of promotions and rollbacks."""
    monkeypatch.setattr(promotion, "_compare", promoted)
    monkeypatch.setattr(aliases, "withdrawn", lambda *_: False)
    draw = random.Random(2)

    def endless() -> None:
        for n in range(1_000_000):
            act(tiny, stocked[n % PACKAGES])
            act(tiny, stocked[(n + 1) % PACKAGES])
            aliases.rollback("tiny")

    act(tiny, stocked[0])
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            endless()
            os._exit(0)
        time.sleep(draw.uniform(0.1, 2.0))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        sound(settled=False)
        time_passes()
        assert forked(lambda: act(tiny, stocked[draw.randrange(PACKAGES)])) == 0
        assert sound(settled=True) is not None
