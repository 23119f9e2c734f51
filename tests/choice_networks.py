"""Networks with choices inside, written as their authors would."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zcpt_ray as zc


def conv(channels: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = zc.Choice(
            conv3=conv(channels, channels), conv5=conv(channels, channels, 5), skip=nn.Identity(), none=None
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.op(x)


class Bottle(nn.Module):
    """An inverted bottleneck, whose depthwise convolution has as many groups as it is wide."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = conv(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.norm = nn.BatchNorm2d(hidden)
        self.project = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.project(F.relu(self.norm(self.depthwise(self.expand(x)))))
        return out


class ConvNet(nn.Module):
    """Depth with choices in its blocks, a width, a kernel, a choice in a choice, and a path around."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.deep = zc.Repeat(lambda: Residual(8), at_most=2)
        self.down = conv(8, 16, stride=2)
        self.wide = zc.Width(lambda hidden: Bottle(16, hidden), (16, 32))
        self.kernel = zc.Width(lambda size: nn.Conv2d(16, 16, size, padding=size // 2), (3, 5))
        self.last = zc.Choice(
            a=conv(16, 16), b=nn.Sequential(conv(16, 16), zc.Choice(x=conv(16, 16, 1), y=nn.Identity()))
        )
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.down(self.deep(self.stem(images)))
        y = F.relu(self.kernel(self.wide(x)))
        logits: Tensor = self.classifier((self.last(y) + x).mean((2, 3)))
        return logits


class ViT(nn.Module):
    """A transformer of torch's own attention: MLP ratios by width, attention or none, two activations tied."""

    def __init__(self, num_classes: int = 10, tokens: int = 16, channels: int = 24) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, channels, 8, 8)
        self.positions = nn.Parameter(torch.zeros(1, tokens, channels))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.depth = zc.Repeat(lambda index: VitBlock(channels, index), at_most=2)
        self.norm = nn.LayerNorm(channels)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.depth(tokens)).mean(1))
        return logits


class VitBlock(nn.Module):
    def __init__(self, channels: int, index: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, 2, batch_first=True)
        self.mlp = zc.Width(lambda ratio: self.make_mlp(channels, ratio), (2, 4))

    def make_mlp(self, channels: int, ratio: int) -> nn.Sequential:
        act = zc.Choice("act", gelu=nn.GELU(), silu=nn.SiLU())
        return nn.Sequential(nn.Linear(channels, ratio * channels), act, nn.Linear(ratio * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Untraceable(nn.Module):
    """Which way it goes depends on its images."""

    def __init__(self) -> None:
        super().__init__()
        self.op = zc.Choice(a=conv(3, 4), b=conv(3, 4, 5))
        self.twice = zc.Choice(c=conv(4, 4), d=nn.Identity())
        self.classifier = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        x = self.op(images)
        if x.mean() > -1e9:
            x = self.twice(self.twice(x))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits
