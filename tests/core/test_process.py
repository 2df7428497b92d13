"""Whether another process is still there, whatever its process id and the machine's clock have become."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gatecast.core import process


def ended() -> subprocess.Popen[bytes]:
    child = subprocess.Popen([sys.executable, "-c", ""])
    psutil.Process(child.pid).status()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return child


def test_a_running_process_is_there() -> None:
    assert not process.gone(process.this_process())


def test_a_process_that_ended_is_gone_before_and_after_its_parent_has_read_its_status() -> None:
    child = ended()
    tags = process.this_process() | {"gatecast.pid": str(child.pid)}
    assert process.gone(tags)
    child.wait()
    assert process.gone(tags)


def test_another_process_with_the_same_id_is_another_process() -> None:
    assert process.gone(process.this_process() | {"gatecast.pid_started": "1"})


def test_a_process_is_known_by_the_tag_that_earlier_versions_wrote() -> None:
    """Field 22 of ``/proc/<pid>/stat``: clock ticks from the boot to its start."""
    stat = Path("/proc/self/stat").read_text()
    assert process.this_process()["gatecast.pid_started"] == stat.rpartition(")")[2].split()[19]


@pytest.mark.parametrize("seconds", [-86_400, 3_600])
def test_a_clock_that_is_set_ends_no_process(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tags, boot = process.this_process(), psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot + seconds)
    assert psutil.boot_time() == boot + seconds
    assert not process.gone(tags)


@pytest.mark.parametrize(
    ("machine", "mine", "gone"),
    [
        ("this one", "this one", True),
        # machines made from one image, containers of a set: all may have the same name
        ("another", "this one", False),
        ("", "", False),
    ],
)
def test_a_process_of_another_boot_is_gone_if_it_was_on_this_machine(
    machine: str, mine: str, gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"gatecast.boot": "another pid:[1]", "gatecast.machine": machine}
    monkeypatch.setattr(process, "_machine", lambda: mine)
    assert process.gone(process.this_process() | theirs) is gone


def test_a_process_of_another_container_cannot_be_known() -> None:
    boot = process.this_process()["gatecast.boot"].split()[0]
    theirs = {"gatecast.boot": f"{boot} pid:[1]", "gatecast.pid_started": "1"}
    assert not process.gone(process.this_process() | theirs)


def test_where_a_boot_has_no_name_a_process_is_known_by_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process, "_boot", lambda: "")
    assert not process.gone(process.this_process())
    assert process.gone(process.this_process() | {"gatecast.pid": str(ended().pid)})


def test_starting_workers_leaves_path_and_signals_as_they_were() -> None:
    path = list(sys.path)
    with process.starting_workers():
        assert Path(sys.path[0], "gatecast/core/process.py").samefile(process.__file__)
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert sys.path == path
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
