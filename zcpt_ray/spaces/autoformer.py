"""AutoFormer-tiny (Chen et al. 2021): vision transformers of one width, with heads and MLP ratio per block."""

import re

import torch
from torch import Tensor, nn

from zcpt_ray.arch import ArchSpec
from zcpt_ray.engine.choices import Choice, Repeat
from zcpt_ray.engine.transformer import NORM_EPSILON, LearnedTensor, Mlp, SelfAttention, TransformerBlock, resized
from zcpt_ray.spaces.module_space import ModuleSpace

HIDDEN = (192, 216, 240)
DEPTHS = (12, 13, 14)
HEADS = (3, 4)
MLP_RATIOS = ("3.5", "4")
PIXELS, PATCH = 224, 16
TOKENS = (PIXELS // PATCH) ** 2 + 1


class AutoFormer(nn.Module):
    """A choice among transformers of three widths, whose blocks at one place are decided together."""

    def __init__(self, num_classes: int = 100) -> None:
        super().__init__()
        options = {str(hidden): VisionTransformer(hidden, num_classes) for hidden in HIDDEN}
        self.transformer = Choice("hidden", **options)

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, num_classes]."""
        logits: Tensor = self.transformer(images)
        return logits


class VisionTransformer(nn.Module):
    """Patches of 16 pixels, a class token, learned positions; the mean of the patches' tokens is classified.

    For images of another size positions are interpolated.
    """

    def __init__(self, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, hidden, PATCH, PATCH)
        self.class_token = LearnedTensor(1, 1, hidden)
        self.positions = LearnedTensor(1, TOKENS, hidden)
        self.blocks = Repeat(lambda index: _block(hidden, index), max(DEPTHS), min(DEPTHS), name="depth")
        self.norm = nn.LayerNorm(hidden, eps=NORM_EPSILON)
        self.head = nn.Linear(hidden, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        image = self.patches(images)
        patches = image.flatten(2).transpose(1, 2)
        own = self.positions()
        side = PIXELS // PATCH
        places = resized(own[:, 1:].transpose(1, 2).unflatten(2, (side, side)), *image.shape[2:])
        positions = torch.cat([own[:, :1], places.flatten(2).transpose(1, 2)], 1)
        tokens = torch.cat([self.class_token().expand(len(patches), -1, -1), patches], 1) + positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens))[:, 1:].mean(1))
        return logits


def _block(hidden: int, index: int) -> TransformerBlock:
    heads = {str(count): SelfAttention(hidden, count) for count in HEADS}
    ratios = {ratio: Mlp(hidden, int(hidden * float(ratio))) for ratio in MLP_RATIOS}
    return TransformerBlock(hidden, Choice(f"block{index}.heads", **heads), Choice(f"block{index}.mlp_ratio", **ratios))


class AutoFormerTiny(ModuleSpace):
    """Networks of 224 px images, written `h192-n3m3.5-n4m4-...`: width, then heads and MLP ratio of each block."""

    named_weights = networks_apart = True
    table_classes = 100

    def __init__(self) -> None:
        super().__init__(AutoFormer, "autoformer-tiny", PIXELS)

    def encode(self, arch: ArchSpec) -> str:
        """`h192-n3m3.5-...`."""
        kept = {edge.name: op for edge, (op,) in zip(self.edges, arch.kept, strict=True)}
        blocks = range(int(kept["depth"]))
        return "-".join(
            [f"h{kept['hidden']}", *(f"n{kept[f'block{i}.heads']}m{kept[f'block{i}.mlp_ratio']}" for i in blocks)]
        )

    def decode(self, text: str) -> ArchSpec:
        hidden, *blocks = text.split("-")
        found = [re.fullmatch(r"n(\d+)m([\d.]+)", block) for block in blocks]
        kept = {"hidden": hidden.removeprefix("h"), "depth": str(len(blocks))}
        for index, match in enumerate(found):
            if match:
                kept |= {f"block{index}.heads": match[1], f"block{index}.mlp_ratio": match[2]}
        return self.with_options(kept, text, "h{192,216,240} and 12 to 14 blocks n{3,4}m{3.5,4}, joined by -")
