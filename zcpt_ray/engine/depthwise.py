"""Depthwise convolutions whose gradients a CPU computes several times faster than torch's own, to rounding the same.

Gradients of dilated ones and of kernels larger than 3x3 have no fast path there. But for stride 1, the gradient of the
input is a depthwise convolution too; one of dilation d is d² ones of dilation 1, on every d-th row and column; and the
gradient of a large kernel is put together from those of 3x3 kernels on shifted images.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DepthwiseConv2d(nn.Conv2d):
    """`nn.Conv2d` of stride 1 with a group per channel, no bias, and padding that keeps the size; float32 only."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        out: Tensor = _Depthwise.apply(input, weight, self.dilation[0])  # type: ignore[no-untyped-call]
        return out


def speed_up_depthwise(net: nn.Module) -> None:
    """Have all convolutions of `net` that can be `DepthwiseConv2d` be that, in place, with their parameters."""
    for module in net.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d) and _fits(child):
                faster = DepthwiseConv2d(
                    child.in_channels,
                    child.out_channels,
                    child.kernel_size[0],
                    padding=child.padding,  # type: ignore[arg-type]
                    dilation=child.dilation[0],
                    groups=child.groups,
                    bias=False,
                    device="meta",
                )
                faster.weight = child.weight
                module.add_module(name, faster)


def _fits(conv: nn.Conv2d) -> bool:
    size, dilation = conv.kernel_size[0], conv.dilation[0]
    one_to_one = conv.groups == conv.in_channels == conv.out_channels and conv.bias is None and conv.stride == (1, 1)
    square = conv.kernel_size == (size, size) and conv.dilation == (dilation, dilation) and size % 2 == 1 and size >= 3
    return one_to_one and square and conv.padding == (dilation * (size // 2),) * 2


class _Depthwise(torch.autograd.Function):
    """Images [B, C, H, W], weight [C, 1, k, k], dilation -> [B, C, H, W]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        return _convolve(x, weight, dilation)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        of_output = gradients[0].contiguous(memory_format=torch.channels_last)
        of_input = _convolve(of_output, weight.flip(2, 3), ctx.dilation)
        return of_input, _weight_gradient(of_output, x, weight, ctx.dilation), None


def _convolve(x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    return F.conv2d(x, weight, None, 1, dilation * (weight.shape[-1] // 2), dilation, groups=len(weight))


def _weight_gradient(of_output: Tensor, x: Tensor, weight: Tensor, dilation: int) -> Tensor:
    if dilation > 1 and not any(size % dilation for size in x.shape[2:]):
        return _weight_gradient(_apart(of_output, dilation), _apart(x, dilation), weight, 1)
    size = weight.shape[-1]
    if dilation > 1 or size == 3:
        return _torch_gradient(of_output, x, weight, dilation * (size // 2), dilation)
    height, width = x.shape[2:]
    padded = F.pad(x, 4 * (size // 2,))
    gradient, small = torch.empty_like(weight), weight[:, :, :3, :3]
    starts = [*range(0, size - 3, 3), size - 3]  # some taps come out twice
    for row in starts:
        for column in starts:
            window = padded[:, :, row : row + height + 2, column : column + width + 2]
            gradient[:, :, row : row + 3, column : column + 3] = _torch_gradient(of_output, window, small, 0, 1)
    return gradient


def _torch_gradient(of_output: Tensor, x: Tensor, weight: Tensor, padding: int, dilation: int) -> Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    pads, dilations = [padding, padding], [dilation, dilation]
    _, gradient, _ = torch.ops.aten.convolution_backward(
        of_output,
        x,
        weight.contiguous(),
        None,
        [1, 1],
        pads,
        dilations,
        False,
        [0, 0],
        len(weight),
        [False, True, False],
    )
    assert isinstance(gradient, Tensor)
    return gradient


def _apart(x: Tensor, step: int) -> Tensor:
    """Every `step`-th row and column, from each start, as images of their own: [step² B, C, H / step, W / step]."""
    batch, channels, height, width = x.shape
    split = x.permute(0, 2, 3, 1).reshape(batch, height // step, step, width // step, step, channels)
    joined = split.permute(2, 4, 0, 1, 3, 5).reshape(-1, height // step, width // step, channels)
    return joined.permute(0, 3, 1, 2)
