"""Whether another process is still there, whatever its number has become."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gatecast.core import process


@pytest.mark.parametrize("machine", ["another", ""])
def test_a_run_of_another_machine_with_this_name_is_left_alone(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines made from one image, containers of a set: all may be called the same."""
    theirs = process.this_process() | {"gatecast.boot": "another pid:[1]"}
    theirs["gatecast.machine"] = machine
    monkeypatch.setattr(process, "_machine", lambda: "this one" if machine else "")
    assert not process.gone(theirs)


def test_without_proc_a_process_is_asked_for_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_boot", lambda: "")
    monkeypatch.setattr(process, "_started", lambda pid: None)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not process.gone(process.this_process())
    assert process.gone(process.this_process() | {"gatecast.pid": str(ended.pid)})
