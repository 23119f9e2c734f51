"""Pooling-based vision transformers (Heo et al. 2021), in the space of Auto-Prox (Wei et al. 2024)."""

import re
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec, Edge
from zcpt_ray.engine.transformer import NORM_EPSILON, LearnedTensor, Mlp, SelfAttention, TransformerBlock, resized
from zcpt_ray.errors import UserError
from zcpt_ray.spaces.whole_networks import WholeNetworks

PIXELS, PATCH, STRIDE = 224, 16, 8
POSITIONS = (PIXELS - PATCH) // STRIDE + 1
WIDTHS, RATIOS, HEADS = ("16", "24", "32", "40"), ("2", "4", "6", "8"), ("2", "4", "8")
STAGE_BLOCKS = (("1", "2", "3"), ("4", "6", "8"), ("2", "4", "6"))
WRITTEN = re.compile(r"b(\d+)-m(\d+)-d(\d+)n(\d+)-d(\d+)n(\d+)-d(\d+)n(\d+)")


class PoolingTransformer(nn.Module):
    """Three stages of blocks, of width `base` times the heads; between them a convolution halves the resolution."""

    def __init__(self, base: int, ratio: int, blocks: Sequence[int], heads: Sequence[int], num_classes: int) -> None:
        super().__init__()
        widths = [base * count for count in heads]
        self.patches = nn.Conv2d(3, widths[0], PATCH, STRIDE)
        self.positions = LearnedTensor(1, widths[0], POSITIONS, POSITIONS)
        self.class_token = LearnedTensor(1, 1, widths[0])
        self.stages = nn.ModuleList(
            nn.Sequential(*(TransformerBlock(w, SelfAttention(w, n), Mlp(w, w * ratio)) for _ in range(count)))
            for w, n, count in zip(widths, heads, blocks, strict=True)
        )
        self.pools = nn.ModuleList(TokenPool(before, after) for before, after in pairwise(widths))
        self.norm = nn.LayerNorm(widths[-1], eps=NORM_EPSILON)
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, num_classes]; for other sizes than 224 positions are interpolated."""
        image = self.patches(images)
        image = image + resized(self.positions(), *image.shape[2:])
        token = self.class_token().expand(len(images), -1, -1)
        for number, stage in enumerate(self.stages):
            if number:
                image, token = self.pools[number - 1](image, token)
            tokens = stage(torch.cat([token, image.flatten(2).transpose(1, 2)], 1))
            token, image = tokens[:, :1], tokens[:, 1:].transpose(1, 2).reshape(*image.shape)
        logits: Tensor = self.head(self.norm(token)[:, 0])
        return logits


class TokenPool(nn.Module):
    """A grouped convolution of stride 2 for the patches, a linear layer for the class token."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, wider, 3, 2, 1, groups=width)
        self.linear = nn.Linear(width, wider)

    def forward(self, image: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(image), self.linear(token)


class Pit(WholeNetworks):
    """Written `b16-m2-d1n2-d6n2-d6n4`: base width, MLP ratio, blocks and heads of each stage; heads never get fewer."""

    name = "pit"
    made_for = PIXELS
    table_classes = 100
    recipe = "small-data"
    edges = (
        Edge("base", WIDTHS),
        Edge("mlp_ratio", RATIOS),
        *(
            edge
            for number, blocks in enumerate(STAGE_BLOCKS, start=1)
            for edge in (Edge(f"stage{number}.blocks", blocks), Edge(f"stage{number}.heads", HEADS))
        ),
    )

    def valid(self, arch: ArchSpec) -> bool:
        heads = [int(op) for (op,) in arch.kept[3::2]]
        return heads == sorted(heads)

    def made(self, arch: ArchSpec, num_classes: int) -> nn.Module:
        base, ratio, *stages = (int(op) for (op,) in arch.kept)
        return PoolingTransformer(base, ratio, stages[::2], stages[1::2], num_classes)

    def encode(self, arch: ArchSpec) -> str:
        """`b16-m2-d1n2-d6n2-d6n4`."""
        base, ratio, *stages = (op for (op,) in arch.kept)
        return "-".join(
            [f"b{base}", f"m{ratio}", *(f"d{d}n{n}" for d, n in zip(stages[::2], stages[1::2], strict=True))]
        )

    def decode(self, text: str) -> ArchSpec:
        match = WRITTEN.fullmatch(text)
        arch = ArchSpec(self.name, tuple((op,) for op in match.groups())) if match else None
        if (
            arch is None
            or not all(op in edge.candidates for (op,), edge in zip(arch.kept, self.edges, strict=True))
            or not self.valid(arch)
        ):
            raise UserError(
                f"not a {self.name} architecture: {text!r}; expected b{{16,24,32,40}}-m{{2,4,6,8}} and three stages"
                " d{1-3 | 4,6,8 | 2,4,6}n{2,4,8} with heads that never get fewer"
            )
        return arch
