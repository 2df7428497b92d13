"""What the process is told before it trains."""

from __future__ import annotations

import platform

import pytest
import torch

from gatecast.training import runtime


def test_the_allocator_can_be_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATECAST_ALLOCATOR", "default")
    assert runtime.tune_allocator() is False


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_the_allocator_accepts_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATECAST_ALLOCATOR", raising=False)
    assert runtime.tune_allocator() is True


def test_another_libc_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATECAST_ALLOCATOR", raising=False)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("musl", "1.2"))
    assert runtime.tune_allocator() is False


def test_threads_are_set_or_left_alone() -> None:
    before = torch.get_num_threads()
    try:
        runtime.set_threads(1)
        assert torch.get_num_threads() == 1
        runtime.set_threads(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
