"""1x1 convolutions with a stride and few input channels: torch corrupts the heap for their gradients on x86 CPUs.

With a stride, oneDNN first gathers the pixels that such a convolution reads. In channels_last order, up to version 3.12
at least, it does so past the end of its memory if there are fewer channels than a vector has lanes: 8 with AVX2, 16
with AVX-512. The process crashes or hangs, or the weight gradient is wrong
(https://github.com/uxlfoundation/oneDNN/issues/6035). With stride 1 nothing is gathered.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch.nn.functional as F
from torch import Tensor, nn

MOST_LANES = 16


class PointwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` of kernel size 1 without padding, which picks the pixels itself; to rounding the same."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows, columns = self.stride
        return F.conv2d(input[..., ::rows, ::columns], weight, bias, groups=self.groups)


def make_pointwise_safe(net: nn.Module) -> list[nn.Conv2d]:
    """Have all convolutions of `net` that torch may get wrong be `PointwiseConv2d`, in place; these."""
    changed = [module for module in net.modules() if type(module) is nn.Conv2d and _at_fault(module)]
    for conv in changed:
        conv.__class__ = PointwiseConv2d  # no new module, so whoever holds this one, or its hooks, has the safe one
    return changed


@contextmanager
def safe_pointwise(net: nn.Module) -> Iterator[None]:
    """Inside, `make_pointwise_safe`; afterwards all is as it was."""
    changed = make_pointwise_safe(net)
    try:
        yield
    finally:
        for conv in changed:
            conv.__class__ = nn.Conv2d


def _at_fault(conv: nn.Conv2d) -> bool:
    strided = conv.kernel_size == (1, 1) and conv.stride != (1, 1) and conv.padding in ((0, 0), "valid")
    return strided and conv.in_channels // conv.groups < MOST_LANES
