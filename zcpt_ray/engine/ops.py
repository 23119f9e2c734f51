"""Candidate operations that the spaces share, and what each is once folded.

In eval mode every op here is linear in relu(x), in x and in a 3x3 average of x. `LinearForm` says so in numbers, and
the weighted sum of an edge's ops is a `LinearForm` again: that is what makes a supernet cheap to evaluate.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
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
        """[B, C, H, W] -> [B, C', H', W'], or None for zeros.

        A removed op is called with `active=False` and gives None. On NAS-Bench-201 its ReLU runs all the same, on
        zeros: the paper's released code runs it whole, and nwot sees that ReLU.
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

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, affine: bool = True
    ) -> None:
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

    For one `seed` image i of any minibatch gets the same noise, so that networks can be compared. If `fresh`, as in
    networks that are trained, it is drawn anew each time, from torch's global random state.
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


CELL_OPS: dict[str, Callable[[int], LinearOp]] = {
    "none": lambda channels: Zero(),
    "skip_connect": lambda channels: Skip(),
    "nor_conv_1x1": lambda channels: ReLUConvBN(channels, channels, 1),
    "nor_conv_3x3": lambda channels: ReLUConvBN(channels, channels, 3),
    "avg_pool_3x3": lambda channels: AvgPool(),
}
"""Stride-1 ops by their NAS-Bench-201 name, made for a number of channels."""


def fold_bn(kernel: Tensor, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias of one convolution that does what a convolution and then `bn` in eval mode do.

    That convolution has `kernel` [C_out, C_in, k, k] and no bias; the bias is [C_out].
    """
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
    """The sum of `weight * form`, with small kernels zero-padded.

    A form of weight 0 is left out, so its ReLU is not counted.
    """
    live = [(form, weight) for form, weight in zip(forms, weights, strict=True) if weight]
    kernels = [(form.kernel, weight) for form, weight in live if form.kernel is not None]
    biases = [(form.bias, weight) for form, weight in live if form.bias is not None]
    size = max((kernel.shape[-1] for kernel, _ in kernels), default=0)
    padded = [(_padded(kernel, size), weight) for kernel, weight in kernels]
    return LinearForm(
        kernel=_mixed(padded).contiguous(memory_format=torch.channels_last) if padded else None,
        bias=_mixed(biases) if biases else None,
        skip=sum(form.skip * weight for form, weight in live),
        pool=sum(form.pool * weight for form, weight in live),
        relus=sum(form.relus for form, _ in live),
    )


def _padded(kernel: Tensor, size: int) -> Tensor:
    missing = size - kernel.shape[-1]
    return F.pad(kernel, 4 * [missing // 2]) if missing else kernel


def _mixed(parts: Sequence[tuple[Tensor, float]]) -> Tensor:
    (first, weight), *others = parts
    total = first * weight
    for tensor, factor in others:
        total = total.add(tensor, alpha=factor)
    return total


def skip_and_pool(x: Tensor, skip: float, pool: float) -> Tensor:
    """skip * x + pool * `AvgPool`(x), of x [B, C, H, W].

    On a CPU a depthwise convolution is several times faster than `avg_pool2d`. At the border fewer neighbours lie
    inside the image, so that their sum counts more there: in either direction 3/2 times, or 3 times in one pixel alone.
    """
    if x.device.type != "cpu":
        pooled = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False).mul_(pool)
        return pooled.add_(x, alpha=skip) if skip else pooled
    channels = x.shape[1]
    out = F.conv2d(x, _neighbours(channels, skip, pool, x.dtype), padding=1, groups=channels)
    for dim in (2, 3):
        size = x.shape[dim]
        border, read = (tensor.transpose(2, dim)[:, :, :: max(1, size - 1)] for tensor in (out, x))
        factor = 1.5 if size > 1 else 3.0
        border.mul_(factor)
        if skip:
            border.sub_(read, alpha=(factor - 1) * skip)
    return out


@lru_cache(maxsize=256)
def _neighbours(channels: int, skip: float, pool: float, dtype: torch.dtype) -> Tensor:
    kernel = torch.full((channels, 1, 3, 3), pool / 9, dtype=dtype)
    kernel[:, :, 1, 1] += skip
    return kernel
