"""On how many bits any two rows differ: all pairs at once."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch

try:
    import numkong
except ImportError:  # no wheel for this machine: a float product instead
    numkong = None  # type: ignore[assignment]

BEYOND_AVX2 = ("alder", "sierra", "skylake", "icelake", "genoa", "sapphire", "turin", "diamond")
"""What the library calls instruction sets of x86 that torch's AVX2 kernels do without."""
WORTH_A_THREAD = 1 << 24
"""Bytes that pairs of rows have together, for which a second thread saves more than it costs."""


def hamming_distances(bits: np.ndarray) -> np.ndarray:
    """Packed bits, uint8 [B, n] -> uint32 [B, B], of which only the upper triangle counts.

    It uses as many threads as torch does.
    """
    if numkong is None:
        return _by_float_product(bits)
    _use_what_torch_uses()
    rows, threads = len(bits), torch.get_num_threads()
    distances = numkong.empty((rows, rows), dtype="uint32")

    def fill(start: int, end: int) -> None:
        numkong.hammings_symmetric(bits, dtype="uint1", start_row=start, end_row=end, out=distances)

    if threads == 1 or rows * bits.nbytes < WORTH_A_THREAD:
        fill(0, rows)
    else:  # rows of a triangle, so that each thread has as many pairs
        ends = [round(rows * (1 - (1 - part / threads) ** 0.5)) for part in range(threads + 1)]
        list(_pool(threads).map(fill, ends[:-1], ends[1:]))
    return np.asarray(distances)


@cache
def _use_what_torch_uses() -> None:
    """Where torch uses no more than AVX2, as it may be told to, neither does the library."""
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        for name in BEYOND_AVX2:
            numkong.disable_capability(name)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="hamming")


def _by_float_product(bits: np.ndarray) -> np.ndarray:
    """The same where there is no library; exact for rows of fewer than 2^24 bits."""
    values = torch.from_numpy(np.unpackbits(bits, axis=1)).float()
    ones = values.sum(1)
    return (ones[:, None] + ones - 2 * (values @ values.T)).numpy().astype(np.uint32)
