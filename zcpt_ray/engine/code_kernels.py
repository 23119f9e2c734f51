"""On how many units any two images of a minibatch agree, summed up over binary codes, for many architectures.

With c_i the code of image i, K_ij = N - d_H(c_i, c_j) is linear in Hamming distances, and these are linear in the
products c_i c_j, as |c_i| = c_i c_i. So either is summed up in integers, on the device, and K is made of it once.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from zcpt_ray.devices import DEVICES
from zcpt_ray.engine.hamming import hamming_distances
from zcpt_ray.engine.relu_codes import BinaryCode

FEWEST_ROWS, ROW_STEP = 32, 8
"""Of an int8 matrix that cuBLAS multiplies: at least so many rows, and a multiple of this."""


class CodeKernels(ABC):
    """K of `num_archs` architectures, each float64 [B, B], over the codes that were added."""

    def __init__(self, num_archs: int) -> None:
        self.units = [0] * num_archs

    @staticmethod
    def on(device: torch.device, num_archs: int, num_images: int) -> "CodeKernels":
        """Of no codes yet; where `device` is a CPU they come packed."""
        if device.type == "cpu":
            return HammingKernels(num_archs, num_images)
        return ProductKernels(device, num_archs, num_images)

    def add(self, archs: Sequence[int], code: BinaryCode, times: int = 1, silent: int = 0) -> None:
        """Count a code `times` times for each of `archs`, and `silent` times one of equal length on which all agree."""
        for arch in archs:
            self.units[arch] += (times + silent) * code.units
        if times:
            self._add(archs, code, times)

    @abstractmethod
    def _add(self, archs: Sequence[int], code: BinaryCode, times: int) -> None: ...

    @abstractmethod
    def kernels(self) -> np.ndarray:
        """All of them, float64 [num_archs, B, B]."""


class HammingKernels(CodeKernels):
    """From distances of packed codes."""

    def __init__(self, num_archs: int, num_images: int) -> None:
        super().__init__(num_archs)
        self.distances = np.zeros((num_archs, num_images, num_images), np.uint32)  # upper triangles only

    def _add(self, archs: Sequence[int], code: BinaryCode, times: int) -> None:
        distances = hamming_distances(code.bits.numpy())
        if times > 1:
            distances *= np.uint32(times)
        for arch in archs:
            self.distances[arch] += distances

    def kernels(self) -> np.ndarray:
        upper = np.triu(self.distances).astype(float)
        whole = upper + np.triu(upper, 1).swapaxes(1, 2)
        kernels: np.ndarray = np.array(self.units, float)[:, None, None] - whole
        return kernels


class ProductKernels(CodeKernels):
    """From products of codes, on a device; one transfer to the host for all."""

    def __init__(self, device: torch.device, num_archs: int, num_images: int) -> None:
        super().__init__(num_archs)
        self.num_images = num_images
        rows = max(FEWEST_ROWS, -(-num_images // ROW_STEP) * ROW_STEP)
        self.products = torch.zeros(num_archs, rows, rows, dtype=torch.int32, device=device)

    def _add(self, archs: Sequence[int], code: BinaryCode, times: int) -> None:
        product = integer_product(padded(code.bits, self.products.shape[1]))
        for arch in archs:
            self.products[arch].add_(product, alpha=times)

    def kernels(self) -> np.ndarray:
        products = self.products.cpu().numpy()[:, : self.num_images, : self.num_images].astype(float)
        ones = np.diagonal(products, axis1=1, axis2=2)
        units = np.array(self.units, float)[:, None, None]
        kernels: np.ndarray = units - ones[:, :, None] - ones[:, None, :] + 2 * products
        return kernels


def padded(bits: Tensor, rows: int) -> Tensor:
    """Codes, bool [B, D], as int8 with zeros up to `rows` rows and a multiple of 8 columns."""
    missing = rows - bits.shape[0], -bits.shape[1] % ROW_STEP
    values = bits.view(torch.int8)
    return torch.nn.functional.pad(values, (0, missing[1], 0, missing[0])) if any(missing) else values


def integer_product(values: Tensor) -> Tensor:
    """int8 [B, D] -> `values` times its transpose, int32 [B, B]."""
    if DEVICES[values.device.type].multiplies_int8:
        return torch._int_mm(values, values.T)
    floats = values.float()  # exact for codes of fewer than 2^24 units
    return (floats @ floats.T).int()
