"""Binary codes of what ReLUs read: which units are greater than 0."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

RELUS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU6)
"""What counts as a ReLU. The paper's released code observes ReLU6 too, which is no subclass of ReLU."""


@dataclass(frozen=True)
class BinaryCode:
    """Which of `units` units are > 0, per image.

    `bits` holds eight units a byte on a CPU, uint8 [B, ceil(units / 8)], the rest of the last byte being 0; elsewhere
    it is bool [B, units].
    """

    bits: Tensor
    units: int

    @classmethod
    def join(cls, parts: Sequence["BinaryCode"]) -> "BinaryCode":
        """One code of the chunks of images that it came in."""
        return parts[0] if len(parts) == 1 else cls(torch.cat([part.bits for part in parts]), parts[0].units)

    def split(self, parts: int) -> list["BinaryCode"]:
        """The codes of equal parts of the images, in order."""
        return [BinaryCode(bits, self.units) for bits in self.bits.chunk(parts)]


@dataclass(frozen=True)
class ReluCode:
    """The binary code of one tensor that ReLUs read, and how often it is read.

    `relus` ReLUs read the tensor. `blocks` ReLU-conv-BN blocks have it as their input, removed ones included. `silent`
    more ReLUs belong to removed ops and see zeros of its shape instead.
    """

    code: BinaryCode
    relus: int
    blocks: int
    silent: int = 0

    def without_removed_ops(self) -> "ReluCode":
        """The same code as the architecture's own network has it: without removed ops, each one block with one ReLU."""
        return ReluCode(self.code, self.relus, self.blocks - self.silent)

    def split(self, parts: int) -> list["ReluCode"]:
        """The same of equal parts of the images, in order."""
        return [replace(self, code=code) for code in self.code.split(parts)]


def relu_code(x: Tensor) -> BinaryCode:
    """Which units of [B, C, H, W] or [B, C] are > 0."""
    return active_code(F.relu(x))


def active_code(active: Tensor) -> BinaryCode:
    """`relu_code` of a tensor that has been through a ReLU already.

    On a CPU the cast to bool is several times faster than a comparison with 0.
    """
    bits = active.bool()
    if bits.dim() == 4:
        bits = bits.permute(0, 2, 3, 1)  # the memory order of channels_last: no copy
    bits = bits.reshape(len(active), -1)
    units = bits.shape[1]
    if bits.device.type == "cpu":
        bits = torch.from_numpy(np.packbits(bits.numpy(), axis=1))
    return BinaryCode(bits, units)
