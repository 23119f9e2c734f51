from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from zcpt_ray.engine import hamming
from zcpt_ray.engine.code_kernels import CodeKernels, HammingKernels, ProductKernels
from zcpt_ray.engine.relu_codes import BinaryCode, relu_code

SIZES = [(1, 1), (2, 7), (9, 333), (33, 64), (256, 20000)]


def codes(rows: int, units: int) -> torch.Tensor:
    return torch.rand(rows, units, generator=torch.Generator().manual_seed(rows)) > 0.5


def agreements(bits: torch.Tensor) -> np.ndarray:
    """On how many units each two rows agree, one by one."""
    return (bits[:, None] == bits[None]).sum(-1).numpy() if bits.numel() < 10**5 else _agreements_of_many(bits)


def _agreements_of_many(bits: torch.Tensor) -> np.ndarray:
    return np.stack([(bits == row).sum(-1).numpy() for row in bits])


@pytest.mark.parametrize("library", ["numkong", "none"])
@pytest.mark.parametrize("size", SIZES)
def test_distances_are_exact(size: tuple[int, int], library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "none":
        monkeypatch.setattr(hamming, "numkong", None)
    bits = codes(*size)
    distances = hamming.hamming_distances(np.packbits(bits.numpy(), axis=1))
    assert (np.triu(distances) == np.triu(size[1] - agreements(bits))).all()


def test_distances_are_the_same_with_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = np.packbits(codes(256, 4096).numpy(), axis=1)
    expected = np.triu(hamming.hamming_distances(packed))
    monkeypatch.setattr(hamming, "WORTH_A_THREAD", 1)
    for threads in (2, 3, 7):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert (np.triu(hamming.hamming_distances(packed)) == expected).all()


def test_no_more_threads_than_torch_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has one CPU of a node starts none."""
    started = []
    monkeypatch.setattr(hamming, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(hamming, "ThreadPoolExecutor", lambda threads, **named: started.append(threads))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    hamming.hamming_distances(np.packbits(codes(256, 4096).numpy(), axis=1))
    assert not started


@pytest.mark.parametrize("images", [1, 5, 40])
def test_kernels_sum_up_what_agrees(images: int) -> None:
    """Both ways, for codes that some share, that count several times, and ones that all agree on."""
    first, second = codes(images, 21), codes(images + 1, 50)[1:]
    for kind in (HammingKernels, ProductKernels):
        if kind is HammingKernels:
            sums: CodeKernels = kind(3, images)
            packed = [BinaryCode(torch.from_numpy(np.packbits(c.numpy(), axis=1)), c.shape[1]) for c in (first, second)]
        else:
            sums = kind(torch.device("cpu"), 3, images)
            packed = [BinaryCode(c, c.shape[1]) for c in (first, second)]
        sums.add((0, 2), packed[0], times=3, silent=2)
        sums.add((2,), packed[1])
        sums.add((1,), packed[1], times=0, silent=1)
        expected = [3 * agreements(first) + 42, np.full((images, images), 50)]
        expected.append(expected[0] + agreements(second))
        assert (sums.kernels() == np.array(expected)).all()


def test_codes_are_packed_in_the_order_of_channels_last() -> None:
    x = torch.randn(3, 5, 2, 2)
    code = relu_code(x)
    assert (code.units, tuple(code.bits.shape)) == (20, (3, 3))
    unpacked = np.unpackbits(code.bits.numpy(), axis=1, count=20)
    assert (unpacked == (x > 0).permute(0, 2, 3, 1).reshape(3, -1).numpy()).all()
    assert torch.equal(BinaryCode.join([relu_code(x[:1]), relu_code(x[1:])]).bits, code.bits)


def test_threads_may_share_the_product() -> None:
    """It lets go of the interpreter's lock and keeps no state: callers in several threads do not disturb each other."""
    packed = [np.packbits(codes(64 + n, 4096).numpy(), axis=1) for n in range(8)]
    alone = [np.triu(hamming.hamming_distances(bits)) for bits in packed]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(hamming.hamming_distances, packed))
    assert all((np.triu(found) == expected).all() for found, expected in zip(together, alone, strict=True))
