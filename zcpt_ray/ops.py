"""Candidate operations that the spaces share, and what each is once folded.

In eval mode every op here is linear in relu(x), in x and in a 3x3 average of x. `LinearForm` says so in numbers, and the
weighted sum of an edge's ops is a `LinearForm` again: that is what makes a supernet cheap to evaluate.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class LinearForm:
    """y = conv(relu(x), kernel) + bias + skip * x + pool * avg_pool_3x3(x).

    `kernel` is [C_out, C_in, k, k] with k odd, or None; `bias` is [C_out], or None where there is no kernel.
    `relus` counts the ReLUs behind the kernel.
    """

    kernel: Tensor | None = None
    bias: Tensor | None = None
    skip: float = 0.0
    pool: float = 0.0
    relus: int = 0


class CandidateOp(nn.Module):
    """A candidate op of an edge; all ops of an edge give one shape."""

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        """[B, C, H, W] -> [B, C', H', W'], or None for zeros. A removed op is called with `active=False` and gives None.

        On NAS-Bench-201 its ReLU runs all the same, on zeros: the paper's released code runs it whole, and nwot sees that ReLU.
        """
        raise NotImplementedError


class LinearOp(CandidateOp):
    """An op that has a `LinearForm`."""

    def linear_form(self) -> LinearForm:
        """The op in eval mode."""
        raise NotImplementedError


class Zero(LinearOp):
    """`none`: no connection."""

    def forward(self, x: Tensor, active: bool = True) -> None:
        return None

    def linear_form(self) -> LinearForm:
        return LinearForm()


class Skip(LinearOp):
    """`skip_connect`: the input itself."""

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        return x if active else None

    def linear_form(self) -> LinearForm:
        return LinearForm(skip=1.0)


class AvgPool(LinearOp):
    """`avg_pool_3x3`: mean over the 3x3 neighbours that lie inside the image."""

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False) if active else None

    def linear_form(self) -> LinearForm:
        return LinearForm(pool=1.0)


class ReLUConvBN(LinearOp):
    """ReLU, convolution without bias, batch normalisation."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, affine: bool = True) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        if not active:
            self.relu(torch.zeros_like(x))
            return None
        out: Tensor = self.bn(self.conv(self.relu(x)))
        return out

    def linear_form(self) -> LinearForm:
        kernel, bias = fold_bn(self.conv.weight, self.bn)
        return LinearForm(kernel, bias, relus=1)


class Noise(CandidateOp):
    """Gaussian noise N(0, 1) that the input does not influence.

    Of image i of any minibatch it is the same for one `seed`, so that networks can be compared; if `fresh`, as networks that one
    trains have it, it is drawn anew each time, from torch's global random state.
    """

    def __init__(self, stride: int, fresh: bool = False) -> None:
        super().__init__()
        self.stride = stride
        self.fresh = fresh
        self.seed = 0

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        if not active:
            return None
        like = x[:, :, :: self.stride, :: self.stride]
        if self.fresh:
            return torch.randn_like(like)
        return torch.randn(like.shape, generator=torch.Generator().manual_seed(self.seed)).to(x)


OPS: dict[str, Callable[[int], LinearOp]] = {
    "none": lambda channels: Zero(),
    "skip_connect": lambda channels: Skip(),
    "nor_conv_1x1": lambda channels: ReLUConvBN(channels, channels, 1),
    "nor_conv_3x3": lambda channels: ReLUConvBN(channels, channels, 3),
    "avg_pool_3x3": lambda channels: AvgPool(),
}
"""Stride-1 ops by their NAS-Bench-201 name, made for a number of channels."""


def fold_bn(kernel: Tensor, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel [C_out, C_in, k, k] and bias [C_out] of a convolution with `kernel` and no bias, followed by `bn` in eval mode."""
    scale, shift = scale_and_shift(bn)
    return kernel * scale[:, None, None, None], shift


def scale_and_shift(bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What `bn` in eval mode multiplies each channel by, and then adds; each [C]."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    scale = torch.rsqrt(bn.running_var + bn.eps)
    if bn.affine:
        scale = bn.weight * scale
        return scale, bn.bias - bn.running_mean * scale
    return scale, -bn.running_mean * scale


def weighted_sum(forms: Iterable[LinearForm], weights: Iterable[float]) -> LinearForm:
    """The sum of `weight * form`; a form of weight 0 is left out, so its ReLU is not counted. Small kernels are zero-padded."""
    live = [(form, weight) for form, weight in zip(forms, weights, strict=True) if weight]
    kernels = [form.kernel * weight for form, weight in live if form.kernel is not None]
    biases = [form.bias * weight for form, weight in live if form.bias is not None]
    size = max((kernel.shape[-1] for kernel in kernels), default=0)
    padded = [F.pad(kernel, 4 * [(size - kernel.shape[-1]) // 2]) for kernel in kernels]
    return LinearForm(
        kernel=torch.stack(padded).sum(0) if padded else None,
        bias=torch.stack(biases).sum(0) if biases else None,
        skip=sum(form.skip * weight for form, weight in live),
        pool=sum(form.pool * weight for form, weight in live),
        relus=sum(form.relus for form, _ in live),
    )


def box_sum_3x3(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over the 3x3 neighbours inside the image [B, C, H, W], and one over their number [H, W]: `AvgPool` is the product.

    On a CPU a depthwise convolution is several times faster than `avg_pool2d`.
    """
    channels, height, width = x.shape[1:]
    box = F.conv2d(x, x.new_ones(channels, 1, 3, 3), padding=1, groups=channels)
    return box, _inverse_count(height, width, x.device)


@cache
def _inverse_count(height: int, width: int, device: torch.device) -> Tensor:
    rows, columns = (F.conv1d(torch.ones(1, 1, size), torch.ones(1, 1, 3), padding=1)[0, 0] for size in (height, width))
    return (1 / (rows[:, None] * columns)).to(device)
