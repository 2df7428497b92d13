"""Would the tests notice? Small faults are planted in a room, one at a time, and its tests are run on each.

pip install cosmic-ray
python -m benchmarks.mutation --sample 40 --out benchmarks/results/mutation.json

Faults are drawn at random from all that cosmic-ray can plant (an operator exchanged, a number changed, a condition
negated, a loop that never runs …), the same ones for the same seed and source. A fault is *killed* if a test of the
room fails or does not end; tests of the module's own name run first. What survives is listed with its line, to be
looked at: some survivors change nothing that a test could see (a tolerance, a message).
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import say, write_result

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("models", "training", "evaluation")
# Changes of types in annotations and of errors nobody catches would all survive; "Variable…" needs to be told which.
LEFT_OUT = (
    *("BitOr", "BitXor", "BitAnd", "LShift", "RShift", "RemoveDecorator", "ExceptionReplacer"),
    "Variable",
)


@dataclass(frozen=True)
class Fault:
    """One place where one operator can be applied."""

    module: Path
    operator: str
    occurrence: int


def faults(room: str) -> list[Fault]:
    """Everything that can be planted in a room."""
    import cosmic_ray.plugins as plugins
    from cosmic_ray.ast import get_ast_from_path

    found = []
    names = [n for n in plugins.operator_names() if not any(part in n for part in LEFT_OUT)]
    for module in sorted((ROOT / "src" / "gatecast" / room).rglob("*.py")):
        nodes = list(_walk(get_ast_from_path(module)))
        for name in sorted(names):
            operator = plugins.get_operator(name)()
            count = sum(len(list(operator.mutation_positions(node))) for node in nodes)
            found += [Fault(module, name, k) for k in range(count)]
    return found


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for child in getattr(node, "children", ()):
        yield from _walk(child)


def planted(fault: Fault) -> str:
    """The module's source with the fault in it."""
    import cosmic_ray.plugins as plugins
    from cosmic_ray.mutating import mutate_code

    source = fault.module.read_text(encoding="utf-8")
    return str(mutate_code(source, plugins.get_operator(fault.operator)(), fault.occurrence))


def killed(room: str, fault: Fault, text: str, seconds: float) -> bool:
    """Whether a test of the room fails, or does not end in time, on a copy of the source with the fault."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / "src", source, ignore=left_out)
        (source / fault.module.relative_to(ROOT / "src")).write_text(text, encoding="utf-8")
        tests = ROOT / "tests" / room
        own = sorted(tests.rglob(f"test_*{fault.module.stem.strip('_')}*.py"))
        rest = [f"--ignore={path}" for path in own]
        for paths in ([*map(str, own)], [str(tests), *rest]):
            if paths and not _pass(paths, source, Path(folder), seconds):
                return True
    return False


def _pass(paths: list[str], source: Path, folder: Path, seconds: float) -> bool:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-m",
        "not slow",
        "-p",
        "no:cacheprovider",
    ]
    env = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [*command, f"--basetemp={folder / 'tmp'}", *paths],
            cwd=ROOT,
            env=env,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode in (0, 5)  # 5: nothing was collected


def line(fault: Fault, text: str) -> str:
    """Where the fault is and what it changes."""
    before = fault.module.read_text(encoding="utf-8").splitlines()
    changes = difflib.unified_diff(before, text.splitlines(), lineterm="", n=0)
    changed = [c for c in changes if c[:1] in "+-" and c[:3] not in ("+++", "---")]
    where = fault.module.relative_to(ROOT / "src" / "gatecast")
    return f"{where}: " + " -> ".join(c[1:].strip() for c in changed[:2])


def _add(path: Path, room: str, result: dict[str, Any]) -> None:
    """Write the result of a room as soon as it is done, beside those of the others that were measured before."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_result(path, {name: known[name] for name in ROOMS if name in known} | {room: result})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rooms", nargs="+", default=list(ROOMS))
    parser.add_argument("--sample", type=int, default=40, help="faults planted in each room")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=1200, help="patience with one run of tests"
    )
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    for room in asked.rooms:
        every, survivors, start = faults(room), [], time.perf_counter()
        drawn = random.Random(asked.seed).sample(every, min(asked.sample, len(every)))
        for number, fault in enumerate(drawn, 1):
            text = planted(fault)
            if not killed(room, fault, text, asked.seconds):
                survivors.append(line(fault, text))
                print(f"  survived: {survivors[-1]}", flush=True)
            left = (time.perf_counter() - start) / number * (len(drawn) - number)
            say(f"{room}: {number} of {len(drawn)}, {left:.0f} s left")
        share = 1 - len(survivors) / max(len(drawn), 1)
        print(f"{room}: {share:.0%} of {len(drawn)} faults killed (of {len(every):,} possible)")
        result = {
            "seed": asked.seed,
            "possible": len(every),
            "tried": len(drawn),
            "killed_share": round(share, 3),
            "survivors": survivors,
        }
        if asked.out:
            _add(asked.out, room, result)


if __name__ == "__main__":
    main()
