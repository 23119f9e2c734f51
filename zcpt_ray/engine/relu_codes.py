"""Binary codes of what ReLUs and other activations read: which units are greater than 0."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

RELUS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU6)
"""What counts as a ReLU. The paper's released code observes ReLU6 too, which is no subclass of ReLU."""
ACTIVATIONS = frozenset(
    (
        *(torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.relu, F.relu6, F.hardtanh, F.hardtanh_, F.threshold),
        *(F.leaky_relu, F.leaky_relu_, F.prelu, F.rrelu, F.rrelu_, F.elu, F.elu_, F.celu, F.celu_, F.selu, F.selu_),
        *(F.gelu, F.silu, F.mish, F.hardswish, F.softplus),
    )
)
"""Functions, which modules call too, that let through what is greater than 0 and damp the rest. As of a ReLU, the code
of any of them is the sign of what it reads."""


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


class _ActivationWatch(TorchFunctionMode):
    def __init__(self, see: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.see = see

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if function in ACTIVATIONS:
            self.see(args[0] if args else given["input"])
        return function(*args, **given)


def watched_activations(see: Callable[[Tensor], None]) -> AbstractContextManager[object]:
    """Inside, `see` is given what each of `ACTIVATIONS` is called with, whether by a module or as a function."""
    return _ActivationWatch(see)


def relu_code(x: Tensor) -> BinaryCode:
    """Which units of [B, C, H, W] or [B, C] are > 0."""
    return active_code(x.clamp_min(0))  # no activation, which would be watched


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
