"""Parts of vision transformers: tokens [B, T, C], pre-norm blocks, attention by scaled dot products."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INITIAL_DEVIATION = 0.02
NORM_EPSILON = 1e-6


class LearnedTensor(nn.Module):
    """A tensor of a network's own, such as positions or a class token, drawn from N(0, 0.02) cut off at 2."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.empty(*shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """First values."""
        nn.init.trunc_normal_(self.value, std=INITIAL_DEVIATION)

    def forward(self) -> Tensor:
        return self.value


def resized(positions: Tensor, height: int, width: int) -> Tensor:
    """Learned positions [1, C, H, W] for another number of patches, interpolated; themselves where it is theirs."""
    if positions.shape[2:] == (height, width):
        return positions
    return F.interpolate(positions, (height, width), mode="bilinear", align_corners=False)


class SelfAttention(nn.Module):
    """Queries, keys and values of `channels` in all, in `heads` parts; then a projection."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        queries, keys, values = (
            self.qkv(x).view(batch, tokens, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        )
        mixed = F.scaled_dot_product_attention(queries, keys, values)
        out: Tensor = self.projection(mixed.transpose(1, 2).reshape(batch, tokens, channels))
        return out


class Mlp(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.outer = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.outer(self.act(self.inner(x)))
        return out


class TransformerBlock(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, channels: int, attention: nn.Module, mlp: nn.Module) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.attention = attention
        self.norm2 = nn.LayerNorm(channels, eps=NORM_EPSILON)
        self.mlp = mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
