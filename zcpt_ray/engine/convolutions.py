"""Convolutions of inference that do more in one pass: add to a tensor, or clamp what they give.

On a CPU it is oneDNN that does so, through the operators by which torch's own compiler reaches it.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from zcpt_ray.devices import DEVICES

RELU, RELU6 = ("relu", ()), ("hardtanh", (0.0, 6.0))
"""What may follow a convolution, as oneDNN calls it, with its bounds."""
Clamp = tuple[str, tuple[float, ...]]


def convolve(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    clamp: Clamp | None = None,
) -> Tensor:
    """`F.conv2d`, and then `RELU` or `RELU6`; without gradients.

    On a CPU it is oneDNN's whatever the batch: with one thread, torch takes a slower one for fewer than 16 images.
    """
    if _has_fused(x):
        name, bounds = clamp or ("none", ())
        out: Tensor = torch.ops.mkldnn._convolution_pointwise.default(
            x, kernel, bias, [padding] * 2, [stride] * 2, [dilation] * 2, groups, name, list(bounds), ""
        )
        return out
    depthwise = groups > 1 and kernel.shape[1] == 1
    if depthwise and not DEVICES[x.device.type].depthwise_in_channels_last:
        x = F.conv2d(x.contiguous(), kernel.contiguous(), bias, stride, padding, dilation, groups)
        out = x.contiguous(memory_format=torch.channels_last)
    else:
        out = F.conv2d(x, kernel, bias, stride, padding, dilation, groups)
    return out if clamp is None else out.clamp_(0, clamp[1][1] if clamp[1] else None)


def add_convolution(
    total: Tensor, x: Tensor, kernel: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> None:
    """Add `convolve(x, ...)` to `total`, in place."""
    if _has_fused(x):
        torch.ops.mkldnn._convolution_pointwise_.binary(
            total, x, kernel, bias, [padding] * 2, [stride] * 2, [1, 1], 1, "add", None, None, [], None
        )
    else:
        total.add_(F.conv2d(x, kernel, bias, stride, padding))


def _has_fused(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == torch.float32 and _torch_has_fused()


@cache
def _torch_has_fused() -> bool:
    operators = ("_convolution_pointwise", "_convolution_pointwise_")
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.mkldnn, name) for name in operators)
