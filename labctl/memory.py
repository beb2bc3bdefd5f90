"""How a worker, which runs for weeks, deals with its memory."""

from __future__ import annotations

import ctypes
import gc

M_MMAP_THRESHOLD, LARGE = -3, 1 << 18  #: glibc's malloc.h: blocks from so many bytes are mapped on their own
M_ARENA_MAX, HEAPS = -8, 2  #: and how many heaps it makes at most


def return_large_blocks() -> None:
    """Large arrays go back to the system when they are done with, and the many threads share few heaps.

    By itself glibc learns to keep the first, and gives nearly every thread a heap of its own.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_ARENA_MAX, HEAPS)


def look_for_garbage_less() -> None:
    """What is there now stays: leave it out of the searches for garbage, and search less often. Harmless to repeat."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)  # 5 % of the loop's time went into the default 700, 10, 10 (bench_loop)


def return_free_pages() -> None:
    """What lies free between blocks in use goes back to the system: glibc itself gives back the end of a heap only."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
