"""What a training costs: seconds, CPU seconds, GPU seconds, peak memory."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable

import torch

from gatecast.training.config import Fit


def stopwatch(fit: Fit, devices: int) -> Callable[[], dict[str, float]]:
    """Start counting.

    Args:
        fit: the trainer recipe.
        devices: how many train side by side.

    Returns:
        A function that returns what was used since: ``train_seconds``, ``train_cpu_seconds`` (with those of child
        processes that have ended), ``train_gpu_seconds`` (devices times seconds), and ``train_peak_memory_mib`` of the
        largest process so far.
    """
    wall = time.perf_counter()
    cpu = sum(os.times()[:4])
    on_gpu = fit.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()

    def read() -> dict[str, float]:
        seconds = time.perf_counter() - wall
        largest = max(
            resource.getrusage(who).ru_maxrss
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        used = {
            "train_seconds": seconds,
            "train_cpu_seconds": sum(os.times()[:4]) - cpu,
            "train_gpu_seconds": seconds * devices if on_gpu else 0.0,
            "train_peak_memory_mib": largest / (1 << 20 if sys.platform == "darwin" else 1 << 10),
        }
        peak = torch.cuda.max_memory_allocated() if on_gpu else 0
        return used | ({"train_peak_gpu_memory_mib": peak / (1 << 20)} if peak else {})

    return read
