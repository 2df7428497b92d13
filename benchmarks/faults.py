"""Faults of a scoring run, each with real processes on a real store: what is tried, and whether the run survived.

python -m benchmarks.faults --out faults.json
python -m benchmarks.faults --quick --out faults.json

After each fault the run is done again. Then there is exactly one published run of its key with one ledger row, its
forecasts are those of an undisturbed run (no row lost, none doubled), and whoever read meanwhile saw all of them or
none. tests/faults/test_scoring_faults.py runs the same list.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.common import say, write_result
from benchmarks.victims import (
    QUIET,
    at,
    clock_goes_back,
    dying,
    gone,
    name_champion,
    pooled,
    said,
    scored,
    seen,
    sound,
    stage,
    stopping,
    time_passes,
)
from gatecast.core import failpoints
from gatecast.core.errors import ScoringError
from gatecast.scoring import read_forecasts, run_spec, store


def main() -> None:
    """Try every fault."""
    parser = argparse.ArgumentParser("python -m benchmarks.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--out", type=Path, default=Path("faults.json"), help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="only those that are quickly tried")
    a = parser.parse_args()
    chosen = [f for f in FAULTS if f.quick or not a.quick]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, stage(Path(folder) / "stage") as staged:
        for number, fault in enumerate(chosen):
            found[fault.name] = _tried(fault, staged, Path(folder) / str(number))
    tried = [entry["survived"] for entry in found.values() if "survived" in entry]
    say(f"{sum(tried)} of {len(tried)} faults survived")
    write_result(a.out, {"tried": len(tried), "survived": sum(tried), "faults": found})
    raise SystemExit(not all(tried))


def _tried(fault: Fault, staged: Path, folder: Path) -> dict[str, Any]:
    begin = time.perf_counter()
    try:
        attempt(fault, staged, folder)
        entry: dict[str, Any] = {"survived": True}
    except NotHere as error:
        say(f"  not tried: {fault.name}: {error}")
        return {"not_tried": str(error)}
    except Exception:
        entry = {"survived": False, "why": traceback.format_exc()}
        say(entry["why"])
    entry["seconds"] = round(time.perf_counter() - begin, 1)
    say(f"  {'survived' if entry['survived'] else 'LOST'}: {fault.name} ({entry['seconds']} s)")
    return entry


class NotHere(Exception):
    """A fault that cannot be tried on this machine."""


@dataclass(frozen=True)
class Fault:
    """A fault: does what it does to a project in the current folder, and asserts what must hold meanwhile."""

    name: str
    act: Callable[[], None]
    quick: bool = False


def attempt(fault: Fault, staged: Path, folder: Path) -> None:
    """Try a fault in a copy of the stage; then score again, and see that nothing is missing.

    Raises:
        AssertionError: if anything is.
    """
    shutil.copytree(staged, folder)
    with chdir(folder), patch.object(run_spec, "SERIES", 2), patch.dict(os.environ, QUIET):
        fault.act()
        time_passes()
        scored().ends(0)
        sound()


def killed_at(point: str) -> Fault:
    """Killed at a step of the protocol, and again, and again: each time what was whole is kept."""

    def act() -> None:
        published = 1 if point in failpoints.SCORING[-2:] else 0
        for _ in range(1 if published else 2):
            scored(dying(point)).ends(failpoints.DIED)
            assert seen() == published
            time_passes()

    few = ("scoring: part receipted", "scoring: published")
    return Fault(f"killed at '{point}'", act, point in few)


def killed_anywhere(times: int) -> Callable[[], None]:
    """SIGKILL from outside at any moment of a run, while somebody reads."""

    def act() -> None:
        draw = random.Random(1)
        for _ in range(times):
            child, until = scored(), time.monotonic() + draw.uniform(0.0, 0.6)
            while time.monotonic() < until:
                seen()
            os.kill(child.pid, signal.SIGKILL)
            assert child.wait() in (-signal.SIGKILL, 0), said()
            time_passes()
            if seen():  # from the beginning again
                shutil.rmtree("forecasts")
                Path("ledger.db").unlink()

    return act


def two_at_once() -> None:
    """Three start at the same moment; all end well, and one of them publishes."""
    begin = time.time() + 0.5
    children = [scored(lambda: time.sleep(max(0.0, begin - time.time()))) for _ in range(3)]
    while seen() == 0:
        time.sleep(0.01)
    for child in children:
        child.ends(0)


def zombie_before_the_check() -> None:
    """It sleeps with all its parts done, another publishes, it wakes: it is told that its lease is lost."""
    zombie = scored(stopping("scoring: parts complete"))
    zombie.stops()
    time_passes()
    scored().ends(0)
    zombie.goes_on().ends(2, "LEASE-LOST")
    sound()


def zombie_after_the_check() -> None:
    """It sleeps right before it publishes, another publishes, it wakes: what is there stays."""
    zombie = scored(stopping("scoring: lease checked"))
    zombie.stops()
    time_passes()
    scored().ends(0)
    (before,) = store.runs("sales")
    zombie.goes_on().ends(0)
    assert store.runs("sales") == [before]


def zombie_in_a_shard() -> None:
    """It sleeps between a part and its receipt, another publishes, it wakes and writes on: nobody reads that."""
    zombie = scored(stopping("scoring: part written"))
    zombie.stops()
    time_passes()
    scored().ends(0)
    (before,) = store.runs("sales")
    zombie.goes_on().ends(2, "LEASE-LOST")
    assert store.runs("sales") == [before]


def clock_set_back() -> None:
    """Of one that died the lease is taken at once, though it would end tomorrow; one that lives ends well."""
    scored(dying("scoring: part written")).ends(failpoints.DIED)
    clock_goes_back()
    scored(at("scoring: begin noted", clock_goes_back)).ends(0)
    assert seen() == 1


def alias_moved() -> None:
    """The alias moves while a run is under way: it ends with the version it began with; the next takes the new one."""
    child = scored(stopping("scoring: champion resolved"))
    child.stops()
    name_champion(2)
    child.goes_on().ends(0)
    assert [m["version"] for m in store.runs("sales")] == [1]
    scored().ends(0)
    assert [m["version"] for m in store.runs("sales")] == [1, 2]
    sound(2)
    name_champion(1)  # and back: that run is published
    scored().ends(0)
    sound(2)
    shutil.rmtree(Path("forecasts/sales", store.runs("sales")[1]["run_key"]))
    Path("ledger.db").unlink()


def file_may_not_grow() -> None:
    """Parts cannot be written to their end."""
    full = at(
        "scoring: begin noted", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    )
    scored(full).ends(2, "ScoringError[WRITE]")
    assert seen() == 0
    left = [p for p in Path("forecasts/sales").rglob("*") if p.is_file()]
    assert not left, left


def disk_full() -> None:
    """A file system without room.

    Raises:
        NotHere: if none can be mounted.
    """
    Path("forecasts").mkdir()
    size = "size=16k"
    command = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", "forecasts"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise NotHere("no file system can be mounted here")
    try:
        scored().ends(2, "ScoringError[WRITE]")
        assert "No space left" in said()
        assert seen() == 0
    finally:
        subprocess.run(["umount", "-l", "forecasts"], check=True)


def shards_damaged() -> None:
    """A shard cut short, one with another byte, one without its receipt, a receipt cut short: done again."""
    scored(dying("scoring: parts complete")).ends(failpoints.DIED)
    first, second, third, fourth = sorted(Path("forecasts/sales").glob("*/part-*.parquet"))
    first.write_bytes(first.read_bytes()[:-100])
    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)
    third.with_suffix(".json").unlink()
    receipt = fourth.with_suffix(".json")
    receipt.write_bytes(receipt.read_bytes()[:-10])


def published_shard_damaged() -> None:
    """A part of a published run is changed: readers are told, and get nothing."""
    scored().ends(0)
    (manifest,) = store.runs("sales")
    folder = Path("forecasts/sales", manifest["run_key"])
    part = min(folder.glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    try:
        raise AssertionError(read_forecasts("sales"))
    except ScoringError as error:
        told = str(error)
    assert "CORRUPT" in told
    shutil.rmtree(folder)


def unreachable(variable: str, address: str, code: str) -> Callable[[], None]:
    """A store that does not answer: it says so, and nothing is published."""

    def act() -> None:
        scored(lambda: os.environ.__setitem__(variable, address)).ends(2, code)
        assert seen() == 0

    return act


def no_place() -> None:
    """Forecasts cannot be written at all."""
    Path("forecasts").write_text("a file in the way")
    scored().ends(2, "ScoringError[WRITE]")
    Path("forecasts").unlink()


def package_lost() -> None:
    """The copy of the package that workers load is damaged: it is fetched again."""
    scored(dying("scoring: lease taken")).ends(failpoints.DIED)
    (weights,) = Path("data/scoring/packages").glob("*/weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])


def worker_killed() -> None:
    """A process dies between a part and its receipt: it is replaced, and the run ends well."""
    Path("once").touch()
    once = {"GATECAST_FAILPOINT": "scoring: part written", "GATECAST_FAILPOINT_ONCE": "once"}
    parent = pooled("local", "died", **once)
    out, _ = parent.communicate()
    assert parent.returncode == 0, out
    assert not Path("once").exists()
    sound()
    gone(parent.pid)


def ray_actor_killed() -> None:
    """An actor of a Ray cluster dies between a part and its receipt: it begins again, and the run ends well."""
    if importlib.util.find_spec("ray") is None or (os.cpu_count() or 1) < 2:
        raise NotHere("Ray is not installed, or there is one core")
    once = Path("once").absolute()
    once.touch()
    point = {"GATECAST_FAILPOINT": "scoring: part written", "GATECAST_FAILPOINT_ONCE": str(once)}
    parent = pooled("ray", RAY_USAGE_STATS_ENABLED="0", **point)
    out, _ = parent.communicate()
    assert parent.returncode == 0, out
    assert not once.exists()
    sound()


def workers_keep_dying() -> None:
    """Whichever process takes a shard dies: the run gives up, and says so."""
    parent = pooled("local", "over", GATECAST_FAILPOINT="scoring: part written")
    out, _ = parent.communicate()
    assert (parent.returncode, "ScoringError[WORKER]" in out) == (2, True), out
    assert seen() == 0
    gone(parent.pid)


def parent_killed() -> None:
    """The process that started the others is killed while they work: they end, too."""
    parent = pooled("local", "parts")
    out, _ = parent.communicate()
    assert parent.returncode == -signal.SIGKILL, out
    assert seen() == 0
    gone(parent.pid)


FAULTS = (
    *map(killed_at, failpoints.SCORING),
    Fault("killed anywhere, while somebody reads (3 times)", killed_anywhere(3), True),
    Fault("killed anywhere, while somebody reads (30 times)", killed_anywhere(30)),
    Fault("three scorers at once", two_at_once, True),
    Fault("zombie that wakes before it checks its lease", zombie_before_the_check, True),
    Fault("zombie that wakes after it checked its lease", zombie_after_the_check, True),
    Fault("zombie that wakes in the middle of a shard", zombie_in_a_shard),
    Fault("alias moved mid-run", alias_moved, True),
    Fault("clock set back", clock_set_back),
    Fault("a file that may not grow", file_may_not_grow, True),
    Fault("disk full", disk_full),
    Fault("shards and receipts damaged", shards_damaged, True),
    Fault("a published shard damaged", published_shard_damaged),
    Fault(
        "registry unreachable",
        unreachable("MLFLOW_TRACKING_URI", "http://127.0.0.1:9", "RegistryError[STORE]"),
    ),
    Fault(
        "ledger unreachable",
        unreachable("GATECAST_LEDGER_URI", "sqlite:////nowhere/at/all.db", "RegistryError[LEDGER]"),
    ),
    Fault("no place for forecasts", no_place),
    Fault("local copy of the package damaged", package_lost),
    Fault("worker killed", worker_killed),
    Fault("actor of a Ray cluster killed", ray_actor_killed),
    Fault("workers keep dying", workers_keep_dying),
    Fault("parent of workers killed", parent_killed),
)


if __name__ == "__main__":
    main()
