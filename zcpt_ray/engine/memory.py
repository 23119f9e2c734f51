"""Memory of a process that allocates and frees the same large tensors over and over, and states of it as bytes."""

import ctypes
import io
from functools import cache

import torch

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's `mallopt`."""


@cache
def keep_freed_memory() -> None:
    """Have the C library keep up to 512 MiB of what is freed; once for a process, and only with glibc.

    As it is set up, it gives tensors of some MiB back to the system at once. The next one then costs a page fault for
    each 4 KiB, a tenth of the engine's time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for parameter, value in ((MMAP_THRESHOLD, 32 << 20), (TRIM_THRESHOLD, 512 << 20), (TOP_PAD, 64 << 20)):
            mallopt(parameter, value)


def saved(state: object) -> bytes:
    """What `torch.save` makes of a state. On a full disk it would itself only say "unexpected pos"."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
