"""Leases: one holder at a time, also when a process dies, sleeps, or comes at the same moment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from gatecast.core.errors import RegistryError
from gatecast.core.ledger import Ledger, who


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path}/ledger.db")


def row(ledger: Ledger) -> sa.Row[tuple[str, int, float]]:
    with ledger._engine.connect() as connection:
        return connection.exec_driver_sql("select holder, token, expires_at from leases").one()


def test_a_second_holder_is_refused_and_told_who_the_first_is(ledger: Ledger) -> None:
    with ledger.lease("scoring demo"), pytest.raises(RegistryError) as caught:
        Ledger(ledger.uri).lease("scoring demo", patience=0).__enter__()
    assert caught.value.code == "LEASE"
    assert f"scoring demo is held by {who()}" in caught.value.what


def test_leases_of_other_names_are_free(ledger: Ledger) -> None:
    with ledger.lease("scoring demo"), ledger.lease("promotion demo", patience=0) as lease:
        lease.check()


def test_a_lease_is_free_when_its_block_has_ended_also_by_an_error(ledger: Ledger) -> None:
    def fail() -> None:
        with ledger.lease("x"):
            raise ValueError("no")

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            fail()
    with ledger.lease("x", patience=0) as lease:
        assert lease.token == 4


def test_tokens_only_grow(ledger: Ledger) -> None:
    tokens = []
    for _ in range(5):
        with ledger.lease("x", patience=0) as lease:
            tokens.append(lease.token)
    assert tokens == [1, 2, 3, 4, 5]


def test_a_lease_of_a_dead_process_ends(ledger: Ledger) -> None:
    code = (
        "import os, sys; from gatecast.core.ledger import Ledger;"
        "Ledger(sys.argv[1]).lease('x', seconds=1).__enter__(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, ledger.uri], check=False).returncode == 9
    with ledger.lease("x", patience=60) as lease:
        assert lease.token == 2
        assert row(ledger).holder == who()


def test_a_lease_outlives_its_seconds_while_its_holder_lives(ledger: Ledger) -> None:
    with ledger.lease("x", seconds=0.3) as lease:
        first = row(ledger).expires_at
        until = time.monotonic() + 60
        while row(ledger).expires_at < first + 0.5 and time.monotonic() < until:
            time.sleep(0.05)
        assert row(ledger).expires_at >= first + 0.5
        assert row(ledger).token == lease.token


def test_a_holder_that_slept_too_long_is_told_so_and_does_not_end_the_next_ones_lease(
    ledger: Ledger,
) -> None:
    with ledger.lease("x") as sleeper:
        with ledger._engine.begin() as connection:
            connection.exec_driver_sql("update leases set expires_at = 0")
        with ledger.lease("x", patience=0) as lease:
            with pytest.raises(RegistryError) as caught:
                sleeper.check()
            assert caught.value.code == "LEASE-LOST"
            sleeper.renew(-1.0)
            lease.check()
            assert row(ledger).token == lease.token


def test_a_check_gives_the_lease_all_its_seconds_again(ledger: Ledger) -> None:
    with ledger.lease("x", seconds=60) as lease:
        with ledger._engine.begin() as connection:
            connection.exec_driver_sql("update leases set expires_at = expires_at - 59")
        lease.check()
        assert row(ledger).expires_at > time.time() + 30


def test_processes_that_come_at_once_are_inside_one_after_the_other(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Each adds one to a number in a file, by reading and writing it: none is lost."""
    (tmp_path / "number").write_text("0")
    code = (
        "import sys, time; from pathlib import Path; from gatecast.core.ledger import Ledger\n"
        "ledger, path = Ledger(sys.argv[1]), Path(sys.argv[2])\n"
        "for _ in range(10):\n"
        "    with ledger.lease('number', patience=100):\n"
        "        n = int(path.read_text()); time.sleep(0.005); path.write_text(str(n + 1))\n"
    )
    command = [sys.executable, "-c", code, ledger.uri, str(tmp_path / "number")]
    started = [subprocess.Popen(command, env=os.environ) for _ in range(3)]
    assert [p.wait(timeout=120) for p in started] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "30"


def test_the_lease_of_a_dead_process_ends_though_the_clock_was_set_back(ledger: Ledger) -> None:
    code = (
        "import os, sys; from gatecast.core.ledger import Ledger;"
        "Ledger(sys.argv[1]).lease('x').__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, ledger.uri], check=True)
    with ledger._engine.begin() as connection:  # an hour, as this machine's clock has it now
        connection.exec_driver_sql("update leases set expires_at = expires_at + 3600")
    with ledger.lease("x", patience=0) as lease:
        assert lease.token == 2
    assert row(ledger).expires_at < time.time() + 60
