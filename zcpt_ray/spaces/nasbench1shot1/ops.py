"""Candidate operations of NAS-Bench-101's cells. A removed op gives nothing, and its ReLU does not run."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from zcpt_ray.engine.ops import CandidateOp


class ConvBNReLU(CandidateOp):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        if not active:
            return None
        out: Tensor = self.relu(self.bn(self.conv(x)))
        return out


class MaxPool(CandidateOp):
    """Greatest of the 3x3 neighbours."""

    def forward(self, x: Tensor, active: bool = True) -> Tensor | None:
        return F.max_pool2d(x, 3, stride=1, padding=1) if active else None


BLOCK_OPS: dict[str, Callable[[int], CandidateOp]] = {
    "conv1x1-bn-relu": lambda channels: ConvBNReLU(channels, channels, 1),
    "conv3x3-bn-relu": lambda channels: ConvBNReLU(channels, channels, 3),
    "maxpool3x3": lambda channels: MaxPool(),
}
"""Ops of a block by name, made for a number of channels."""
