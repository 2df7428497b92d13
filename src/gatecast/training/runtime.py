"""What the process is told before it trains: memory, threads, signals."""

from __future__ import annotations

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def tune_allocator() -> bool:
    """Keep freed memory in the process (glibc only): training a recurrent net on CPU is page-fault bound otherwise.

    Set ``GATECAST_ALLOCATOR=default`` to opt out.

    Returns:
        Whether the allocator was tuned.
    """
    if os.environ.get("GATECAST_ALLOCATOR") == "default" or platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL("libc.so.6")
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 << 20))
    return all(libc.mallopt(name, value) for name, value in settings)


def set_threads(threads: int | None) -> None:
    """Use this many CPU threads for tensor arithmetic (None: leave torch's own choice)."""
    import torch

    if threads:
        torch.set_num_threads(threads)
